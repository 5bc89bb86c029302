"""Starts Puppet, and sets it up in .venv beside this file whenever that is needed.

    python start.py [arguments of puppet]
    python start.py test [arguments of pytest]

Standard library only, in syntax that any Python 3.7 reads: an interpreter that is too old gets a sentence,
not a traceback.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHONS = ((3, 12), (3, 11))  # the best first

# Shared libraries that the wheels of OpenCV, MediaPipe and Qt expect of a Linux system, and who has them on Debian.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLESv2.so.2": "libgles2",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxcb-glx.so.0": "libxcb-glx0",
    "libxcb-shm.so.0": "libxcb-shm0",
}
TEST_TOOLS = {"Xvfb": "xvfb", "xauth": "xauth"}  # a screen for the window's tests


class SetupError(Exception):
    """Puppet could not be set up; the text says in one sentence what to do."""


def say(text: str) -> None:
    print("puppet: " + text, file=sys.stderr, flush=True)


def venv_python() -> Path:
    return VENV / "Scripts" / "python.exe" if os.name == "nt" else VENV / "bin" / "python"


# What is installed


def stamp() -> Path:
    """Written last: two lines, the fingerprint of what was installed, and its extras."""
    return VENV / "puppet-installed.txt"


def fingerprint() -> str:
    """Changes with the project's requirements, and with its place, which an editable install remembers."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + os.fsencode(ROOT)).hexdigest()


def installed_extras() -> set[str]:
    """The extras of the last finished install, up to date or not."""
    try:
        return set(stamp().read_text(encoding="utf-8").splitlines()[1].split())
    except (OSError, IndexError):
        return set()


def is_ready(extras: set[str]) -> bool:
    """Whether this very project is installed with (at least) these extras."""
    try:
        lines = stamp().read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return lines[:1] == [fingerprint()] and extras <= installed_extras() and venv_python().exists()


# The steps of an installation


def version_of(command: list[str]) -> tuple[int, ...]:
    """(major, minor) of the interpreter that `command` starts; () when it does not run."""
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([*command, "-c", ask], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        return tuple(int(part) for part in answer.stdout.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ()


def find_python() -> list[str]:
    """The command of a suitable interpreter: this one, or another one that is installed."""
    if sys.version_info[:2] in PYTHONS:
        return [sys.executable]
    for wanted in PYTHONS:
        name = "{}.{}".format(*wanted)
        command = ["py", "-" + name] if os.name == "nt" else ["python" + name]
        if version_of(command) == wanted:
            return command
    found = "{}.{}".format(*sys.version_info[:2])
    raise SetupError(
        f"Puppet needs Python 3.11 or 3.12, and only {found} was found; install Python 3.12"
        " (https://www.python.org/downloads/) and start again."
    )


def missing_packages(extras: set[str]) -> list[str]:
    """The Debian packages whose libraries, fonts and tools this Linux system lacks; elsewhere none."""
    if not sys.platform.startswith("linux"):
        return []
    missing = [package for library, package in LIBRARIES.items() if not can_load(library)]
    if not any(Path("/usr/share/fonts").glob("**/*.[to]tf")):
        missing.append("fonts-dejavu-core")
    if "dev" in extras:
        missing += [package for tool, package in TEST_TOOLS.items() if not shutil.which(tool)]
    if importlib.util.find_spec("ensurepip") is None:
        missing.append("python3-venv")  # Debian cuts it out of Python
    return missing


def can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_packages(packages: list[str]) -> str:
    """Install Debian packages where root may; otherwise return the sentence that asks the user to."""
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        return "this system may lack libraries that Puppet needs; Debian calls them " + names + "."
    if os.geteuid() != 0:
        return "Puppet needs some system libraries; please run: sudo apt-get install -y " + names
    say("installing system libraries: " + names)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        return ""
    return "apt-get could not install system libraries; please see to it: " + " ".join(install)


def is_healthy_venv() -> bool:
    """Whether .venv has a suitable Python and a pip that runs; not so when its making was cut short."""
    python = str(venv_python())
    if version_of([python]) not in PYTHONS or not (VENV / "pyvenv.cfg").exists():
        return False
    return subprocess.run([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, check=False).returncode == 0


def make_venv() -> None:
    """Make .venv, emptied first."""
    command = find_python()
    say(f"making {VENV}")
    made = subprocess.run([*command, "-m", "venv", "--clear", str(VENV)], check=False)
    if made.returncode != 0:
        raise SetupError(f"{command[0]} could not make {VENV}; mend what it says above and start again.")


def show_progress(text: str) -> None:
    """Show what pip is at: on a terminal always in the same line, and "" clears that."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + text[:width].ljust(width), end="" if text else "\r", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def install_project(extras: set[str]) -> None:
    """Install the project, editable."""
    project = f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)
    log = VENV / "pip-log.txt"
    command = [str(venv_python()), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "--log", str(log), "--editable", project]
    reason = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace") as pip:
        for line in map(str.strip, pip.stdout or ()):
            if line.startswith("ERROR:"):
                reason = reason or line[len("ERROR:") :].strip()
            elif line.startswith(("Collecting", "Downloading", "Installing collected")):
                show_progress("  " + line.split(" (from")[0])
    show_progress("")
    if pip.returncode != 0:
        raise SetupError(
            f"pip could not install Puppet ({reason or f'exit code {pip.returncode}'}); check the internet connection"
            f" and the free space, then start again; all that it said is in {log}."
        )


def set_up(extras: set[str]) -> None:
    """Make everything ready; whatever fails or is interrupted, the next start does again."""
    first = not venv_python().exists()
    say("setting up on first use (fetches some 400 MB)" if first else "bringing the installation up to date")
    packages = missing_packages(extras)
    advice = install_packages(packages) if packages else ""
    extras = extras | installed_extras()
    if not is_healthy_venv():
        make_venv()
    if stamp().exists():
        stamp().unlink()
    install_project(extras)
    stamp().write_text(fingerprint() + "\n" + " ".join(sorted(extras)) + "\n", encoding="utf-8")
    if advice:
        say(advice)
    say("ready")


# Starting


def hand_over(command: list[str]) -> int:
    """Become `command`; where a process cannot, run it and return its exit code."""
    if os.name != "nt":
        os.execv(command[0], command)
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                pass  # the child gets Ctrl-C as well and ends in its own way


def main(arguments: list[str]) -> int:
    testing = arguments[:1] == ["test"]
    extras = {"dev"} if testing else set()
    try:
        if not is_ready(extras):
            set_up(extras)
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"could not set up in {ROOT} ({error}); see to it that this folder can be written and start again.")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next start goes on from here.")
        return 130
    if testing:
        os.chdir(ROOT)
        return hand_over([str(venv_python()), "-m", "pytest", *arguments[1:]])
    # -P: the user's own folder is no place to import from, whatever it contains.
    return hand_over([str(venv_python()), "-P", "-m", "puppet", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
