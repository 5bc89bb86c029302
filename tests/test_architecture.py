"""The rules that keep the program readable from its folders, read off its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "puppet": set(),
    "engines": {"puppet"},
    "calibration": {"puppet"},
    "ui": {"puppet", "calibration"},
}
COMPOSITION_ROOTS = {Path("puppet/__main__.py"), Path("puppet/workbench.py")}
THREADS = {Path("puppet/workers.py"), Path("ui/bridge.py")}
HEAVY = ("cv2", "numpy", "mediapipe", "PySide6", "torch", "av", "PIL")
SOURCES = sorted(path.relative_to(ROOT) for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imports(source: Path) -> Iterator[str]:
    """The absolute names of everything that `source` imports, wherever in the file."""
    for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}:{node.lineno} imports relatively"
            yield node.module or ""


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_packages_import_only_what_they_may(source: Path) -> None:
    package = source.parts[0]
    ours = {name.split(".")[0] for name in imports(source)} & MAY_IMPORT.keys()
    if source not in COMPOSITION_ROOTS:
        assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_threads_start_in_two_files_only(source: Path) -> None:
    tree = ast.parse((ROOT / source).read_text(encoding="utf-8"))
    starters = {"Thread", "Timer", "ThreadPoolExecutor", "QThread", "QThreadPool"}
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert source in THREADS or not starters & names


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_module_says_what_it_is_for(source: Path) -> None:
    text = ast.get_docstring(ast.parse((ROOT / source).read_text(encoding="utf-8")))
    assert text


def test_packages_share_one_folder() -> None:
    for package in MAY_IMPORT:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).parents[1] == ROOT


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['puppet', '--help']\n"
        "from puppet.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "render" in done.stdout
    assert done.stderr.strip() == "[]"
