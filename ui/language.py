"""The window's texts in the user's language: English as written in the source, others from a file of pairs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QLocale, QTranslator

CATALOGUES = Path(__file__).parent / "languages"
LANGUAGES = {"en": "English", "zh": "中文"}

_texts: dict[str, str] = {}


class _ForQt(QTranslator):
    """Gives Qt's own texts, such as those of standard buttons, from the same catalogue."""

    def translate(self, context: str, source: str, disambiguation: str | None = None, n: int = -1) -> str | None:
        return _texts.get(source.replace("&", ""))  # None, as an empty text would be shown

    def isEmpty(self) -> bool:  # Qt's name
        return not _texts


_for_qt = _ForQt()


def use(language: str) -> None:
    """Speak `language` from now on, "" for the system's; what is shown already stays as it is."""
    code = language or QLocale.system().name().partition("_")[0]
    catalogue = CATALOGUES / f"{code}.toml"
    _texts.clear()
    if catalogue.exists():
        _texts.update(tomllib.loads(catalogue.read_text(encoding="utf-8")))
    if QCoreApplication.instance() is not None:
        QCoreApplication.removeTranslator(_for_qt)
        QCoreApplication.installTranslator(_for_qt)


def tr(text: str) -> str:
    """`text` in the language in use; English where the catalogue lacks it."""
    return _texts.get(text, text)
