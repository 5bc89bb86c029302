"""A small emulated machine with Debian's kernel, a real v4l2loopback, and this system's files as its own.

Its root is this system's, read-only, with an overlay in memory: every virtual environment is there, and nothing that it
does stays. It has no network. The kernel and the module come from Debian's packages, as the user's would.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "gcc": "gcc",
    "make": "make",
}
LIBRARY = (Path("/usr/include/libelf.h"), "libelf-dev")  # the kernel's build tools ask for it
MODULE = "v4l2loopback-dkms"
DRIVERS = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "videodev")
BOOT_TIMEOUT_S = 480

INIT = """#!/busybox sh
b=/busybox
$b mkdir -p /proc /sys /dev /host /memory /root
$b mount -t devtmpfs devtmpfs /dev
for driver in {drivers}; do $b insmod /$driver; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host
$b mount -t tmpfs tmpfs /memory
$b mkdir /memory/upper /memory/work
$b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root
$b mount --move /dev /root/dev
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b chroot /root /usr/bin/env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin {command} 2>&1
$b poweroff -f
"""


class MachineError(RuntimeError):
    """The machine cannot be built or started; the text says what to do."""


class Machine:
    """Built in `folder`, where the next one finds it again: some 10 MB. Raises MachineError."""

    def __init__(self, folder: Path) -> None:
        _install_tools()
        release = _dependency("linux-image-amd64", "linux-image-").removeprefix("linux-image-")
        self._folder = folder / release
        self._kernel = self._folder / "vmlinuz"
        self.module = self._folder / "v4l2loopback.ko"  # seen from inside at the same place
        if not self._folder.exists():
            with TemporaryDirectory(dir=folder) as scratch:
                _build(release, Path(scratch), built := Path(scratch) / "built")
                built.rename(self._folder)

    def run(self, *command: str) -> str:
        """What the command, run as root in the machine, prints; both streams."""
        initial = self._initial_files(command)
        machine = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "2048"]
        machine += ["-nic", "none", "-nographic", "-no-reboot", "-kernel", str(self._kernel), "-initrd", str(initial)]
        machine += ["-append", "console=ttyS0 quiet panic=-1"]
        machine += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
        machine += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
        try:
            return _run(*machine, timeout_s=BOOT_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            raise MachineError(f"The machine did not end within {BOOT_TIMEOUT_S} s; it said:\n{said}") from error

    def _initial_files(self, command: tuple[str, ...]) -> Path:
        with TemporaryDirectory() as name:
            files = Path(name)
            shutil.copy(shutil.which("busybox") or "", files / "busybox")
            drivers = sorted((self._folder / "drivers").iterdir())
            for driver in drivers:
                shutil.copy(driver, files)
            names = " ".join(driver.name for driver in drivers)
            (files / "init").write_text(INIT.format(drivers=names, command=" ".join(command)))
            (files / "init").chmod(0o755)
            archive = self._folder / "initial.cpio"
            _run("sh", "-c", f"find . | cpio --quiet -o -H newc > '{archive}'", cwd=files)
        return archive


def _build(release: str, scratch: Path, built: Path) -> None:
    """Fetch the packages and make of them the kernel, the drivers in the order of their need, and v4l2loopback."""
    headers = f"linux-headers-{release}"
    common, tools = _dependency(headers, "linux-headers-"), _dependency(headers, "linux-kbuild-")
    _run("apt-get", "download", "-qq", f"linux-image-{release}", headers, common, tools, MODULE, cwd=scratch)
    root = scratch / "root"
    for package in scratch.glob("*.deb"):
        _run("dpkg", "-x", str(package), str(root))
    sources = root / "usr" / "src"
    makefile = sources / headers / "Makefile"  # names the common headers where an installation would put them
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{sources}/"))
    (module,) = sources.glob("v4l2loopback-*")
    _run("make", "-C", str(sources / headers), f"M={module}", "CC=gcc", "modules")
    _run("depmod", "-b", str(root), release)
    shown = _run("modprobe", "-d", str(root), "-S", release, "--show-depends", "--all", *DRIVERS)
    drivers = dict.fromkeys(line.split()[1] for line in shown.splitlines() if line.startswith("insmod"))
    (built / "drivers").mkdir(parents=True)
    for place, driver in enumerate(drivers):
        shutil.copy(driver, built / "drivers" / f"{place:02}-{Path(driver).name}")
    shutil.copy(root / "boot" / f"vmlinuz-{release}", built / "vmlinuz")
    shutil.copy(module / "v4l2loopback.ko", built)


def _install_tools() -> None:
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    missing += [] if LIBRARY[0].exists() else [LIBRARY[1]]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MachineError(f"The emulated machine needs tools that are missing; run: sudo {' '.join(command)}")
    _run("apt-get", "update", "-qq")
    _run("env", "DEBIAN_FRONTEND=noninteractive", *command)


def _dependency(package: str, prefix: str) -> str:
    """The package named `prefix`… that `package` depends on."""
    found = re.search(rf"Depends: ({prefix}\S+)", _run("apt-cache", "depends", package))
    if not found:
        raise MachineError(f"{package} is not to be had; the emulated machine needs Debian 12's packages.")
    return found[1]


def _run(*command: str, cwd: Path | None = None, timeout_s: float = 300) -> str:
    """What it prints. Raises MachineError if it fails."""
    done = subprocess.run(
        command, cwd=cwd, timeout=timeout_s, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise MachineError(f"{' '.join(command)} failed:\n{said}")
    return done.stdout.decode(errors="replace")
