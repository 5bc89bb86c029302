"""The panel of controls: each value of the settings that one wants to turn while the portrait lives."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from puppet.settings import LIMITS, Settings
from ui import theme
from ui.actions import texts
from ui.fields import ChoiceField, ColourField, Field, FileField, FolderField, SliderField, SwitchField, percent
from ui.hotkeys import KeyField, conflict
from ui.language import LANGUAGES, tr
from ui.section import Section

PICTURES = "*.jpg *.jpeg *.png *.webp *.bmp *.tif *.tiff *.gif"
KEPT = ("window.", "hotkeys.")  # by "Reset all": they are no matter of how the portrait moves and looks


class ControlsPanel(QWidget):
    """Shows `settings` and lets the user change them; what it does not show of them stays as it is.

    changed: the whole new Settings, once for all that changed in one turn of the event loop.
    """

    changed = Signal(object)
    freeze_toggled = Signal(bool)

    def __init__(self, settings: Settings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._defaults = Settings().values()
        self._fields: dict[str, Field] = {}
        self._announcing = QTimer(self)
        self._announcing.setSingleShot(True)
        self._announcing.setInterval(0)
        self._announcing.timeout.connect(lambda: self.changed.emit(self._settings))
        self._whole = QVBoxLayout(self)
        self._whole.setContentsMargins(theme.SPACE_PX, theme.SPACE_PX, theme.SPACE_PX, theme.MARGIN_PX)
        self._whole.setSpacing(theme.SPACE_PX)
        self._add_motion()
        self._add_background()
        self._add_framing()
        self._add_view()
        self._add_program()
        self._add_keys()
        reset = QPushButton(tr("Reset all"))
        reset.setToolTip(tr("Set every control to its default, but for theme, language, folder and keys"))
        reset.setAccessibleName(tr("Reset all"))
        reset.clicked.connect(self._reset_all)
        self._whole.addWidget(reset)
        self._whole.addStretch(1)
        self.show_settings(settings)

    def show_settings(self, settings: Settings) -> None:
        """Set every control; emits nothing."""
        self._settings = settings
        values = settings.values()
        for name, field in self._fields.items():
            field.set_value(values[name])
        self._show_what_applies()

    def show_frozen(self, frozen: bool) -> None:
        """The portrait holds still, or moves again; emits nothing."""
        self._freeze.set_value(frozen)

    def _add_motion(self) -> None:
        section = self._section(tr("Motion"))
        for key, text, tooltip in (
            ("head", tr("&Head"), tr("How far the head turns and moves; 100 % is as far as yours")),
            ("mouth", tr("&Mouth"), tr("How far mouth and jaw move")),
            ("eyes", tr("&Eyes"), tr("How far the eyes open and shut; at 0 % they stay as in the portrait")),
            ("brows", tr("&Brows"), tr("How far brows and forehead move")),
            ("gaze", tr("&Gaze"), tr("How far the look wanders")),
        ):
            self._add_slider(section, f"motion.{key}", text, tooltip)
        self._add_slider(
            section,
            "motion.smoothing",
            tr("&Smoothing"),
            tr("Calms trembling; more of it follows fast motion a little later, 0 % is off"),
        )
        self._add_switch(
            section,
            "motion.auto_blink",
            tr("Blink by itself"),
            tr("Blinks every few seconds unless you do: for glasses behind which no blink is seen"),
        )
        self._add_switch(
            section,
            "motion.look_at_camera",
            tr("Look at the camera"),
            tr("The portrait looks at the viewer, wherever you look"),
        )
        self._add_switch(
            section,
            "motion.idle",
            tr("Breathe when nobody is there"),
            tr("Without a face in the camera's picture the portrait breathes and blinks, instead of resting"),
        )
        self._freeze = SwitchField(tr("Freeze"), False, tooltip=tr("The portrait holds still until you switch it off"))
        self._freeze.changed.connect(lambda frozen: self.freeze_toggled.emit(frozen))
        section.add(self._freeze)
        self._add_choice(
            section,
            "motion.mode",
            tr("M&ode"),
            {"relative": tr("Relative"), "absolute": tr("Absolute")},
            tr(
                "Relative: what your face does, on the portrait's own face. Absolute: the portrait takes your face's "
                "shape; strengths do nothing"
            ),
        )

    def _add_background(self) -> None:
        section = self._section(tr("Background"))
        self._add_choice(
            section,
            "background.kind",
            tr("Bac&kground"),
            {
                "own": tr("The portrait's own"),
                "blur": tr("Blurred"),
                "colour": tr("Colour"),
                "green": tr("Green"),
                "transparent": tr("Transparent"),
                "picture": tr("Picture"),
            },
            tr("What stands behind the person; transparent reaches PNG, GIF and the browser source"),
        )
        self._add(
            section,
            "background.colour",
            ColourField(
                tr("&Colour"), self._default_text("background.colour"), tooltip=tr("The colour behind the person")
            ),
        )
        self._add(
            section,
            "background.picture",
            FileField(
                tr("Pictu&re"),
                self._default_text("background.picture"),
                filter_text=f"{tr('Pictures')} ({PICTURES})",
                tooltip=tr("The picture behind the person, cut to the portrait's shape"),
            ),
        )
        self._fields["background.kind"].changed.connect(self._ask_for_picture)

    def _add_framing(self) -> None:
        section = self._section(tr("Framing"))
        self._add_slider(section, "framing.zoom", tr("&Zoom"), tr("Shows less of the portrait, larger"))
        self._add_slider(section, "framing.pan_x", tr("Side&ways"), tr("Moves the portrait left or right"))
        self._add_slider(section, "framing.pan_y", tr("&Up, down"), tr("Moves the portrait up or down"))
        self._add_switch(
            section, "framing.follow", tr("Follow the face"), tr("Keeps the face in the middle; zoom in to leave room")
        )

    def _add_view(self) -> None:
        section = self._section(tr("View"))
        self._add_switch(
            section, "view.mirror_preview", tr("Mirror the preview"), tr("Here in the window only, as in a mirror")
        )
        self._add_switch(
            section,
            "view.mirror_output",
            tr("Mirror the output"),
            tr("In recordings, stream and virtual camera; programs for calls mirror your own view by themselves"),
        )
        self._add_switch(
            section, "view.self_view", tr("Self-view"), tr("Shows you the camera's picture; it never leaves the window")
        )
        self._add_switch(
            section, "view.landmarks", tr("Points in the self-view"), tr("Draws what is tracked over your face")
        )
        self._add_slider(
            section,
            "view.overlay_opacity",
            tr("Ou&tline"),
            tr("How clearly the portrait's outline lies over your self-view, for you to take its pose"),
        )

    def _add_program(self) -> None:
        section = self._section(tr("Program"))
        self._add_choice(
            section,
            "engine.preset",
            tr("&Preset"),
            {"auto": tr("Automatic"), "quality": tr("Quality"), "speed": tr("Speed")},
            tr("Quality paints up to 1024 pixels, speed 512, for slower computers; automatic chooses by the cores"),
        )
        self._add_choice(
            section,
            "window.theme",
            tr("Theme"),
            {"system": tr("As the system"), "light": tr("Light"), "dark": tr("Dark")},
            tr("The colours of the window"),
        )
        self._add(
            section,
            "window.recordings",
            FolderField(tr("&Folder"), "", tooltip=tr("Where recordings and snapshots are saved")),
        )
        self._add_choice(
            section, "window.language", tr("Language"), {"": tr("As the system"), **LANGUAGES}, tr("Of the window")
        )

    def _add_keys(self) -> None:
        section = self._section(tr("Keys"))
        section.unfold(False)
        refusal = QLabel()
        refusal.setProperty("role", "error")
        refusal.setWordWrap(True)
        refusal.hide()

        def show_refusal(text: str) -> None:
            refusal.setText(text)
            refusal.setVisible(bool(text))

        for key, (text, tip) in texts().items():
            name = f"hotkeys.{key}"
            field = KeyField(
                text,
                self._default_text(name),
                tooltip=tr("{tip}. Click here and press a key for it; Backspace takes it away").format(tip=tip),
                conflict=partial(self._key_conflict, key),
            )
            field.refused.connect(show_refusal)
            self._add(section, name, field)
        section.add(refusal)

    def _key_conflict(self, action: str, key: str) -> str:
        return conflict(self._settings.hotkeys, action, key)

    def _section(self, title: str) -> Section:
        section = Section(title)
        self._whole.addWidget(section)
        return section

    def _add_slider(self, section: Section, name: str, text: str, tooltip: str) -> None:
        shown = {"framing.pan_x": _signed, "framing.pan_y": _signed}.get(name, percent)
        field = SliderField(text, self._defaults[name], limits=LIMITS[name], tooltip=tooltip, shown=shown)
        self._add(section, name, field)

    def _add_switch(self, section: Section, name: str, text: str, tooltip: str) -> None:
        self._add(section, name, SwitchField(text, self._defaults[name], tooltip=tooltip))

    def _add_choice(self, section: Section, name: str, text: str, choices: dict[str, str], tooltip: str) -> None:
        self._add(section, name, ChoiceField(text, self._default_text(name), choices=choices, tooltip=tooltip))

    def _add(self, section: Section, name: str, field: Field) -> None:
        field.setObjectName(name)
        field.changed.connect(lambda value: self._change({name: value}))
        self._fields[name] = field
        section.add(field)

    def _default_text(self, name: str) -> str:
        return str(self._defaults[name])

    def _change(self, changes: dict[str, object]) -> None:
        self._settings = self._settings.changed(changes)
        self._show_what_applies()
        self._announcing.start()

    def _reset_all(self) -> None:
        defaults = {name: self._defaults[name] for name in self._fields if not name.startswith(KEPT)}
        self.show_settings(self._settings.changed(defaults))
        self._announcing.start()
        self._freeze.reset()

    def _show_what_applies(self) -> None:
        kind = self._settings.background.kind
        self._fields["background.colour"].setVisible(kind == "colour")
        self._fields["background.picture"].setVisible(kind == "picture")
        for key in ("head", "mouth", "eyes", "brows", "gaze", "auto_blink", "look_at_camera", "idle"):
            self._fields[f"motion.{key}"].setEnabled(self._settings.motion.mode == "relative")

    def _ask_for_picture(self) -> None:
        field = self._fields["background.picture"]
        if self._settings.background.kind == "picture" and not field.value() and isinstance(field, FileField):
            field.ask()


def _signed(value: float) -> str:
    return f"{round(100 * value):+d} %" if value else "0 %"
