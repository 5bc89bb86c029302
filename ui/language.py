"""The window's texts in the user's language: English as written in the source, others from a file of pairs.

What the core says is English, with what it speaks of filled in already; the table [core] of such a file has templates
of its sentences, by which `told` knows them again.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QLocale, QTranslator

CATALOGUES = Path(__file__).parent / "languages"
LANGUAGES = {"en": "English", "zh": "中文"}

PLACE = re.compile(r"\{(\w+)\}")
END = re.compile(r"(?<=\.) ")  # of a sentence, with more to come

_texts: dict[str, str] = {}
_told: list[tuple[re.Pattern[str], str]] = []  # how a text of the core looks, and what to say for it


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
    _told.clear()
    if catalogue.exists():
        texts = tomllib.loads(catalogue.read_text(encoding="utf-8"))
        core = texts.pop("core", {})
        _texts.update(texts)
        _told.extend((_pattern(text), core[text]) for text in sorted(core, key=_least_filled))
    if QCoreApplication.instance() is not None:
        QCoreApplication.removeTranslator(_for_qt)
        QCoreApplication.installTranslator(_for_qt)


def tr(text: str) -> str:
    """`text` in the language in use; English where the catalogue lacks it."""
    return _texts.get(text, text)


def told(said: object) -> str:
    """What the core says, such as an error, in the language in use; as it is where the catalogue lacks it.

    Of several sentences, and of what is filled into them, each is looked for.
    """
    text = str(said)
    return _translated(text) or text


def joined(sentences: Iterable[str]) -> str:
    """One after the other; a full stop in Chinese brings its own space."""
    return " ".join(sentences).replace("。 ", "。")


def _translated(text: str) -> str | None:
    for end in END.finditer(text):
        first = _sentence(text[: end.start()])
        rest = _translated(text[end.end() :]) if first else None
        if first and rest:
            return joined((first, rest))
    return _sentence(text)


def _sentence(text: str) -> str | None:
    for pattern, other in _told:
        found = pattern.fullmatch(text)
        if found is not None:
            return other.format(**{name: told(value) for name, value in found.groupdict().items()})
    return None


def _pattern(template: str) -> re.Pattern[str]:
    texts_and_names = PLACE.split(template)
    texts_and_names[::2] = map(re.escape, texts_and_names[::2])
    texts_and_names[1::2] = [f"(?P<{name}>.+?)" for name in texts_and_names[1::2]]
    return re.compile("".join(texts_and_names), re.DOTALL)


def _least_filled(template: str) -> int:
    """Sorts those first that say most by themselves: others may be less particular forms of them."""
    return -len(PLACE.sub("", template))
