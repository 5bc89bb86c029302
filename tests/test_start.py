"""start.py: when it sets up, what it says when it cannot, and how it hands over; no download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import start

ROOT = Path(__file__).parents[1]

# In the place of pip: installs a `puppet` that tells its arguments, or fails while a file `offline` is there.
PIP = """
import pathlib, sys
if "install" in sys.argv:
    if pathlib.Path(sys.prefix, "..", "offline").exists():
        sys.exit("ERROR: no connection")
    puppet = pathlib.Path(__file__).parents[1] / "puppet"
    puppet.mkdir(exist_ok=True)
    (puppet / "__main__.py").write_text("import os, sys; print(sys.argv[1:], os.getcwd()); sys.exit(7)")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with start.py and a virtual environment that has nothing but PIP."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "start.py", folder)
    (folder / "pyproject.toml").write_text("[project]\n")
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = Path(sysconfig.get_path("purelib", vars={"base": str(venv)})) / "pip"
    pip.mkdir()
    (pip / "__main__.py").write_text(PIP)
    return folder


def run(project: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(project / "start.py"), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_arguments_folder_and_exit_code_are_handed_over(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "puppet.py").write_text("raise SystemExit('imported from the folder of the user')")
    done = run(project, "render", "a b.jpg", cwd=elsewhere)
    assert done.stdout.strip() == f"['render', 'a b.jpg'] {elsewhere}"
    assert done.returncode == 7


def test_second_start_sets_nothing_up(project: Path) -> None:
    assert "installation" in run(project).stderr
    assert run(project).stderr == ""


def test_failed_install_is_one_sentence_and_done_again(project: Path) -> None:
    (project / "offline").touch()
    failed = run(project)
    assert failed.returncode == 1
    assert "pip could not install Puppet (no connection)" in failed.stderr
    assert "Traceback" not in failed.stderr
    (project / "offline").unlink()
    assert run(project).returncode == 7


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that start.py takes for an installed project, without extras."""
    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setattr(start, "VENV", tmp_path / ".venv")
    start.venv_python().parent.mkdir(parents=True)
    start.venv_python().touch()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    start.stamp().write_text(start.fingerprint() + "\n\n")
    assert start.is_ready(set())
    return tmp_path


def test_changed_requirements_are_installed(installed: Path) -> None:
    (installed / "pyproject.toml").write_text("[project]\ndependencies = ['numpy']\n")
    assert not start.is_ready(set())


def test_moved_folder_is_installed_again(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ROOT", installed / "moved")
    shutil.copytree(installed / ".venv", installed / "moved" / ".venv")
    shutil.copy(installed / "pyproject.toml", installed / "moved")
    assert not start.is_ready(set())


def test_vanished_python_is_noticed(installed: Path) -> None:
    start.venv_python().unlink()
    assert not start.is_ready(set())
    assert not start.is_healthy_venv()


def test_tests_want_their_extra_and_later_installs_keep_it(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    monkeypatch.setattr(start, "is_healthy_venv", lambda: True)
    monkeypatch.setattr(start, "missing_packages", lambda extras: [])
    monkeypatch.setattr(start, "install_project", wanted.append)
    assert not start.is_ready({"dev"})
    start.set_up({"dev"})
    (installed / "pyproject.toml").write_text("[project]\nversion = '2'\n")
    start.set_up(set())
    assert wanted == [{"dev"}, {"dev"}]
    assert start.is_ready({"dev"})


def test_interrupted_install_is_done_again(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(extras: set[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "is_healthy_venv", lambda: True)
    monkeypatch.setattr(start, "missing_packages", lambda extras: [])
    monkeypatch.setattr(start, "install_project", interrupted)
    assert start.main(["test"]) == 130
    assert not start.is_ready(set())


def test_unsuitable_python_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(start, "version_of", lambda command: ())
    with pytest.raises(start.SetupError, match=r"needs Python 3\.11 or 3\.12, and only 3\.9 was found; install"):
        start.find_python()


def test_another_python_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(start, "version_of", lambda command: (3, 11) if command[-1].endswith("3.11") else ())
    assert start.find_python()[-1].endswith("3.11")


def test_version_of_a_real_and_of_no_python() -> None:
    assert start.version_of([sys.executable]) == sys.version_info[:2]
    assert start.version_of(["no-such-python"]) == ()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux leaves libraries to the system")
def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "LIBRARIES", {"libc.so.6": "libc6", "libnosuch.so.9": "libnosuch9"})
    missing = start.missing_packages(set())
    assert "libnosuch9" in missing
    assert "libc6" not in missing


@pytest.mark.skipif(os.name == "nt", reason="no root on Windows")
def test_user_gets_the_command_that_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    assert start.install_packages(["libegl1", "libgl1"]).endswith("sudo apt-get install -y libegl1 libgl1")
