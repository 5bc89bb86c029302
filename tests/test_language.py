"""What the window says exists in every language, with the same places to fill in."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QDialogButtonBox

from calibration import collect
from ui import language, theme

UI = Path(theme.__file__).parent
CATALOGUES = sorted((UI / "languages").glob("*.toml"))
PLACE = re.compile(r"\{(\w+)\}")


def said() -> set[str]:
    """The first arguments of every tr() that are written out."""
    calls = (
        node
        for source in UI.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr"
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def prompts() -> set[str]:
    """What the calibration says by names of its own."""
    return {value for name, value in vars(collect).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_catalogue_is_complete(catalogue: Path) -> None:
    pairs = tomllib.loads(catalogue.read_text(encoding="utf-8"))
    assert not sorted((said() | prompts()) - pairs.keys())
    wrong = [text for text, other in pairs.items() if sorted(PLACE.findall(text)) != sorted(PLACE.findall(other))]
    assert not wrong
    assert all(pairs.values())


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
