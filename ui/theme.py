"""How the window looks: two palettes, one style sheet made from either, and icons in the palette's colour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Template

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

SPACE_PX = 8
MARGIN_PX = 12
ICON_PX = 20
ICONS = Path(__file__).parent / "icons"
STYLE = Path(__file__).parent / "style.qss"
RATIOS = (1, 2, 3)  # pixels per point of the screens that icons are made for

Group, Role = QPalette.ColorGroup, QPalette.ColorRole


@dataclass(frozen=True, slots=True)
class Colours:
    """One theme, by what its colours are for."""

    ground: str
    surface: str
    raised: str
    hover: str
    line: str
    text: str
    muted: str
    accent: str
    on_accent: str
    tint: str  # behind what is switched on
    danger: str
    on_danger: str
    warning: str
    stage: str  # around the portrait


DARK = Colours(
    ground="#17181b", surface="#1f2125", raised="#2a2d33", hover="#343840", line="#33363d",
    text="#eceef1", muted="#9aa1ac", accent="#7f9cff", on_accent="#0f1220", tint="#2c3559",
    danger="#f0635a", on_danger="#1c0b0a", warning="#f0b45a", stage="#0e0f11",
)  # fmt: skip
LIGHT = Colours(
    ground="#f4f5f7", surface="#ffffff", raised="#eceef2", hover="#e2e5eb", line="#d8dce3",
    text="#1b1e24", muted="#5d6573", accent="#3d5bd9", on_accent="#ffffff", tint="#dfe5fd",
    danger="#c9362c", on_danger="#ffffff", warning="#9a6200", stage="#e4e6ea",
)  # fmt: skip


def apply(theme: str) -> None:
    """Dress the whole program in "dark", "light", or "system": what the system is dressed in, now and later."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    if theme == "system":
        dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        colours = DARK if dark else LIGHT
    else:
        colours = DARK if theme == "dark" else LIGHT
    if application.property("colours") == repr(colours):
        return
    application.setProperty("colours", repr(colours))
    application.setStyle("Fusion")
    application.setPalette(_palette(colours))
    names = {name: getattr(colours, name) for name in Colours.__slots__}
    for name in ("check", "chevron"):  # drawings that style sheets take from files, which must have their colour
        names[name] = (ICONS / f"{name}-{'dark' if colours is DARK else 'light'}.svg").as_posix()
    application.setStyleSheet(Template(STYLE.read_text(encoding="utf-8")).substitute(names))


def colours() -> Colours:
    """Those of the theme that was applied."""
    return DARK if QApplication.palette().color(Role.Window) == QColor(DARK.ground) else LIGHT


def icon(name: str, *, colour: str = "") -> QIcon:
    """The drawing icons/`name`.svg in the text's colour, or in `colour`; ask anew when the palette changes."""
    theme = colours()
    made = QIcon()
    on = colour or theme.accent
    for mode, state, each in (
        (QIcon.Mode.Normal, QIcon.State.Off, colour or theme.text),
        (QIcon.Mode.Normal, QIcon.State.On, on),
        (QIcon.Mode.Disabled, QIcon.State.Off, theme.muted),
    ):
        for ratio in RATIOS:
            made.addPixmap(_drawn(name, each, ratio), mode, state)
    return made


def pixmap(name: str, *, colour: str, ratio: float) -> QPixmap:
    """The same as a picture for a screen of `ratio` pixels per point."""
    return _drawn(name, colour, ratio)


@lru_cache(maxsize=512)
def _drawn(name: str, colour: str, ratio: float) -> QPixmap:
    drawing = (ICONS / f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", colour)
    made = QPixmap(round(ICON_PX * ratio), round(ICON_PX * ratio))
    made.fill(Qt.GlobalColor.transparent)
    painter = QPainter(made)
    QSvgRenderer(QByteArray(drawing.encode())).render(painter, QRectF(0, 0, ICON_PX * ratio, ICON_PX * ratio))
    painter.end()
    made.setDevicePixelRatio(ratio)
    return made


def _palette(theme: Colours) -> QPalette:
    palette = QPalette()
    for role, colour in {
        Role.Window: theme.ground, Role.WindowText: theme.text, Role.Base: theme.surface, Role.Text: theme.text,
        Role.AlternateBase: theme.raised, Role.Button: theme.raised, Role.ButtonText: theme.text,
        Role.ToolTipBase: theme.raised, Role.ToolTipText: theme.text, Role.PlaceholderText: theme.muted,
        Role.Highlight: theme.accent, Role.HighlightedText: theme.on_accent, Role.Link: theme.accent,
        Role.Mid: theme.line, Role.Dark: theme.line, Role.Light: theme.hover, Role.Accent: theme.accent,
    }.items():  # fmt: skip
        palette.setColor(role, QColor(colour))
    for role in (Role.WindowText, Role.Text, Role.ButtonText):
        palette.setColor(Group.Disabled, role, QColor(theme.muted))
    return palette
