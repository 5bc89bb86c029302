"""What the window says, and what the core says there, exists in every language, with the same places to fill in."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QDialogButtonBox

from puppet.preflight import Preflight
from puppet.virtual_camera import VirtualCameraUnavailable
from ui import language, theme

UI = Path(theme.__file__).parent
CATALOGUES = sorted((UI / "languages").glob("*.toml"))
PLACE = re.compile(r"\{(\w*)\}")
WORDS = re.compile(r"[A-Za-z]{2}(,? [a-z]|: \{)|^[A-Z][a-z]+\.$")  # in what somebody is to read

CORE = ("calibration/*", "engines/*", "engines/training/apart", "engines/training/tuning", "puppet/*")
ELSEWHERE = "__main__ arguments bench benchmark doctor framing mediapipe_parts outlets render settings study".split()
RAISING = "workbench"  # speaks elsewhere, too, but for its errors
NOT_SHOWN = {
    "Stopped; {} holds the best so far, {}.",
    "The portrait in {} is left out, it is damaged ({}).", "there is no {}", "an unknown number of",
    "The order of the portraits is lost: {} cannot be read ({}).",
    "{} is not {} finite numbers", "it is of version {}, not {}", "its numbers contradict each other",  # for the log
    "{} is no part of a picture", "it is of another portrait", "The call took more than {} s.",  # answered where raised
    "torch is missing", "{} is missing",
    "driver call", "virtual camera", "stream to a viewer", "video capture (virtual)",  # names of things
    "Synthetic: made with Puppet", "Only a browser on this computer may watch, in a page of its own",
    "There is nothing here; use the whole address that Puppet shows", "Too many viewers",  # to who has a file, or asks
    "Content-Type: image/{}\r\nContent-Length: {}\r\n\r\n", "[activated enabled]",
}  # fmt: skip


def said() -> set[str]:
    """The first arguments of every tr() that are written out."""
    calls = (
        node
        for source in UI.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr"
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def strings(node: ast.AST) -> Iterator[str]:
    """Every text in the source that is no comment, and neither printed nor logged; {} stands for what is filled in."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="logger")) | ast.Name(id="print")):
            return
        case ast.Constant(value=str(text)):
            yield text
            return
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            children: list[ast.AST] = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
        case _:
            children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from strings(child)


def spoken() -> set[str]:
    """What the core says in the window, whole or in part."""
    root = UI.parent
    sources = [source for place in CORE for source in root.glob(f"{place}.py")]
    texts = {
        text
        for source in sources
        if source.stem not in ELSEWHERE
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise if source.stem == RAISING else ast.Module)
        for text in strings(node)
        if WORDS.search(text) and not text.startswith("sudo ")
    }
    assert texts >= NOT_SHOWN
    return texts - NOT_SHOWN


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_catalogue_is_complete(catalogue: Path) -> None:
    pairs = tomllib.loads(catalogue.read_text(encoding="utf-8"))
    core = pairs.pop("core")
    assert not sorted(said() - pairs.keys())
    assert {PLACE.sub("{}", text) for text in core} == spoken()
    for texts in (pairs, core):
        wrong = [text for text, other in texts.items() if sorted(PLACE.findall(text)) != sorted(PLACE.findall(other))]
        assert not wrong
        assert all(texts.values())


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_what_the_core_says_is_told(catalogue: Path) -> None:
    core = tomllib.loads(catalogue.read_text(encoding="utf-8"))["core"]
    language.use(catalogue.stem)
    try:
        for text, other in core.items():
            filled = {name: f"[{name}]" for name in PLACE.findall(text)}
            assert language.told(text.format(**filled)) == other.format(**filled)
    finally:
        language.use("en")


def test_sentences_in_a_row_and_in_each_other_are_told() -> None:
    problem = "The virtual camera cannot be opened: its process ended."
    advice = "Close whatever else may send to it, and try again."
    unavailable = VirtualCameraUnavailable(Preflight(problem=problem, advice=advice))
    assert language.told(unavailable) == f"{problem} {advice}"
    language.use("zh")
    try:
        assert language.told("its process ended") in language.told(problem)
        assert language.told(unavailable) == language.told(problem) + language.told(advice)
        assert not set(re.findall(r"[a-z]+", language.told(unavailable)))
        full = language.told("/films/a. b.mp4 cannot be written: No space left on device.")
        assert re.findall(r"[!-~][!-~ ]*[!-~]", full) == ["/films/a. b.mp4", "No space left on device"]
        assert language.told("Nobody knows this. Nor this.") == "Nobody knows this. Nor this."
        assert language.told("") == ""
    finally:
        language.use("en")


def test_errors_are_told_before_they_are_shown() -> None:
    written_out = {
        source.name
        for source in UI.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node) == "str(error)"
    }
    assert written_out == {"observed.py"}  # of which nothing is shown but that there is trouble


def test_every_language_has_a_name() -> None:
    assert {path.stem for path in CATALOGUES} | {"en"} == language.LANGUAGES.keys()


def test_qt_speaks_it_too(qapp: QApplication) -> None:
    language.use("zh")
    try:
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        assert [button.text() for button in box.buttons()] == ["取消"]
        assert language.tr("Start") == "开始"
        assert language.tr("no such text") == qapp.translate("Window", "no such text") == "no such text"
    finally:
        language.use("en")


def test_every_drawing_that_is_asked_for_exists(qapp: QApplication) -> None:
    theme.apply("dark")
    names = {
        call.args[0].value
        for source in UI.glob("*.py")
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("theme.icon", "theme.pixmap")
        if isinstance(call.args[0], ast.Constant)
    }
    assert names
    assert all((UI / "icons" / f"{name}.svg").exists() for name in names)
