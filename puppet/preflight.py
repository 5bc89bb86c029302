"""Looks, before a virtual camera is started, whether the system has one: what is missing, who holds it, what to do."""

from __future__ import annotations

import os
import platform
import plistlib
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from puppet import v4l2

MODULE = Path("/sys/module/v4l2loopback")
MODULES = Path("/lib/modules")
LOAD = 'sudo modprobe v4l2loopback exclusive_caps=1 card_label="Puppet"'
RELOAD = f"sudo modprobe -r v4l2loopback && {LOAD}"
INSTALL = {  # by the ID or ID_LIKE in os-release
    "debian": "sudo apt install v4l2loopback-dkms",
    "fedora": "sudo dnf install akmod-v4l2loopback (from RPM Fusion)",
    "arch": "sudo pacman -S v4l2loopback-dkms",
    "suse": "sudo zypper install v4l2loopback-kmp-default",
}

WINDOWS_CAMERAS = {  # COM class -> what other programs call it
    "{A3FCE0F5-3493-419F-958A-ABA1250EC20B}": "OBS Virtual Camera",
    "{5C2CD55C-92AD-4999-8666-912BD3E70010}": "Unity Video Capture",
}
OBS_FOR_MAC = Path("/Applications/OBS.app/Contents/Info.plist")
OBS_EXTENSION = "com.obsproject.obs-studio.mac-camera-extension"
OLDEST_OBS = 30
START_ONCE = "Open OBS, start and stop its virtual camera once, and allow it in the System Settings."


@dataclass(frozen=True, slots=True)
class Preflight:
    """Whether there is a virtual camera for us. Looking is not opening: a start can fail nevertheless."""

    device: str = ""  # as other programs call it; on Linux its node
    problem: str = ""  # one sentence
    advice: str = ""  # what to do; without a problem, what would be better

    @property
    def ok(self) -> bool:
        return not self.problem


def preflight(device: str | None = None) -> Preflight:
    """Look for `device`, or for any that is free. Takes some milliseconds, on macOS some tenths of a second."""
    system = platform.system()
    if system == "Linux":
        return _linux(device)
    if system == "Windows":
        return _windows(device, _is_registered)
    if system == "Darwin":
        return _macos()
    return Preflight(problem=f"Virtual cameras on {system} are not supported.")


def _linux(wanted: str | None) -> Preflight:
    nodes = v4l2.nodes()
    if not nodes:
        return _without_device()
    if wanted is not None and Path(wanted) not in nodes:
        return Preflight(problem=f"{wanted} is not a virtual camera.", advice=f"There is {', '.join(map(str, nodes))}.")
    checks = [_node(node) for node in nodes if wanted in (None, str(node))]
    return next((check for check in checks if check.ok), checks[0])


def _without_device() -> Preflight:
    if MODULE.is_dir():
        return Preflight(problem="The kernel module v4l2loopback has made no device.", advice=f"Run: {RELOAD}")
    if any((MODULES / platform.release()).rglob("v4l2loopback.ko*")):
        return Preflight(problem="The kernel module v4l2loopback is not loaded.", advice=f"Run: {LOAD}")
    system = {}
    with suppress(OSError):
        system = platform.freedesktop_os_release()
    family = f"{system.get('ID', '')} {system.get('ID_LIKE', '')}"
    install = next((command for name, command in INSTALL.items() if name in family), "")
    return Preflight(
        problem="The kernel module v4l2loopback is not installed.",
        advice=f"Run: {install}; then: {LOAD}" if install else f"Install v4l2loopback, then run: {LOAD}",
    )


def _node(node: Path) -> Preflight:
    if not os.access(node, os.R_OK | os.W_OK):
        return Preflight(
            problem=f"{node} may not be written by this user.",
            advice="Run: sudo usermod -aG video $USER; then log out and in again.",
        )
    exclusive = "Y" in (MODULE / "parameters" / "exclusive_caps").read_text()
    holders = ", ".join(v4l2.holders(node))
    # With exclusive_caps, viewers do no harm, and a device no longer takes pictures once a program sends to it;
    # if nobody has it open, it is only stuck, and will be freed.
    if holders and not (exclusive and v4l2.takes_pictures(node)):
        return Preflight(
            problem=f"{node} is in use by {holders}.",
            advice=f"Close that, or make a second device: {RELOAD} devices=2",
        )
    return Preflight(str(node), advice="" if exclusive else f"So that Chrome lists it, run: {RELOAD}")


def _windows(wanted: str | None, is_registered: Callable[[str], bool]) -> Preflight:
    names = [name for class_id, name in WINDOWS_CAMERAS.items() if is_registered(class_id)]
    if names:
        return Preflight(wanted or names[0])
    return Preflight(
        problem="No virtual camera is installed.",
        advice="Install OBS Studio (https://obsproject.com), or Unity Capture if OBS is to take our picture in.",
    )


def _is_registered(class_id: str) -> bool:
    if sys.platform != "win32":
        return False
    import winreg

    try:
        winreg.OpenKey(winreg.HKEY_CLASSES_ROOT, rf"CLSID\{class_id}").Close()
    except OSError:
        return False
    return True


def _macos() -> Preflight:
    done = subprocess.run(["systemextensionsctl", "list"], capture_output=True, text=True, check=False)
    if any(OBS_EXTENSION in line and "[activated enabled]" in line for line in done.stdout.splitlines()):
        return Preflight("OBS Virtual Camera")
    version = ""
    with suppress(OSError, plistlib.InvalidFileException):
        version = str(plistlib.loads(OBS_FOR_MAC.read_bytes()).get("CFBundleShortVersionString", ""))
    if int(version.partition(".")[0] or 0) >= OLDEST_OBS:
        return Preflight(problem="The camera extension of OBS is not active.", advice=START_ONCE)
    return Preflight(
        problem=f"OBS Studio {version} is too old." if version else "OBS Studio, whose camera is used, is missing.",
        advice=f"Install OBS Studio {OLDEST_OBS} or later (https://obsproject.com). {START_ONCE}",
    )
