"""Settings: what is read, refused, and written, and that a person's file stays a person's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from puppet import settings as stored
from puppet.backdrop import CHOICES
from puppet.settings import LIMITS, TYPES, BackgroundSettings, Settings, SettingsError
from puppet.types import Controls


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "somewhere" / "settings.toml"


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_without_a_file(file: Path) -> None:
    assert stored.load(file) == Settings()


def test_file_goes_over_the_defaults(file: Path) -> None:
    settings = stored.load(write(file, '[motion]\nhead = 1\nauto_blink = true\n[window]\ntheme = "dark"\n'))
    assert settings == Settings().changed({"motion.head": 1.0, "motion.auto_blink": True, "window.theme": "dark"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[motion]\nhaed = 1.0", "no setting motion.haed; did you mean motion.head?"),
        ("[moton]\nhead = 1.0", "did you mean motion.head?"),
        ("zzz = 1", "there are background, camera"),
        ("[motion]\nhead = 3.0", "motion.head lies within 0 and 2"),
        ("[motion]\nhead = nan", "motion.head lies within 0 and 2"),
        ('[motion]\nhead = "much"', "motion.head is a number"),
        ("[view]\nself_view = 1", "view.self_view is true or false"),
        ('[window]\ntheme = "pink"', "window.theme is one of 'system', 'light', 'dark'"),
        ("[window\n", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(file: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml") as raised:
        stored.load(write(file, text))
    assert sentence in str(raised.value)


def test_changes_are_remembered(file: Path) -> None:
    settings = Settings().changed({"motion.head": 1.5, "camera.device": "Kamera ü"})
    stored.save(file, Settings(), settings)
    assert stored.load(file) == settings
    assert [entry.name for entry in file.parent.iterdir()] == ["settings.toml"]


def test_persons_edits_and_comments_stay(file: Path) -> None:
    write(file, "# mine\n[motion]\nhead = 0.5 # calm\nmouth = 1.25\n")
    before = stored.load(file)
    stored.save(file, before, before.changed({"motion.head": 1.5, "view.self_view": True}))
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# mine\n[motion]\nhead = 1.5 # calm\nmouth = 1.25\n")
    assert stored.load(file) == before.changed({"motion.head": 1.5, "view.self_view": True})


def test_flags_of_one_run_do_not_enter_the_file(file: Path) -> None:
    stored.save(file, Settings(), Settings().changed({"window.theme": "dark"}))
    flagged = stored.load(file).changed(stored.parsed(["motion.head=0.5"]))
    stored.save(file, flagged, flagged.changed({"motion.mouth": 0.75}))
    assert stored.load(file) == Settings().changed({"window.theme": "dark", "motion.mouth": 0.75})


def test_damaged_file_is_not_overwritten(file: Path) -> None:
    write(file, "[window\n")
    with pytest.raises(SettingsError, match="cannot be kept"):
        stored.save(file, Settings(), Settings().changed({"motion.head": 1.5}))
    assert file.read_text(encoding="utf-8") == "[window\n"


def test_assignments_of_the_command_line() -> None:
    changes = stored.parsed(["motion.head=1.5", "view.self_view = true", "window.theme=dark", "camera.device=0"])
    assert changes == {"motion.head": 1.5, "view.self_view": True, "window.theme": "dark", "camera.device": "0"}
    with pytest.raises(SettingsError, match="sets nothing"):
        stored.parsed(["motion.head"])


def test_limits_name_settings_that_exist() -> None:
    assert LIMITS.keys() <= TYPES.keys()
    assert all(low <= Settings().values()[name] <= high for name, (low, high) in LIMITS.items())


def test_controls_for_the_retargeter() -> None:
    settings = Settings().changed({"motion.head": 0.5, "motion.idle": False, "motion.look_at_camera": True})
    assert settings.motion.controls == Controls(head=0.5, look_at_camera=True)


def test_background_as_the_backdrop_takes_it() -> None:
    assert BackgroundSettings(kind="colour", colour="#102030").choice == "#102030"
    assert BackgroundSettings(kind="picture").choice == "own"
    assert BackgroundSettings(kind="picture", picture="beach.jpg").choice == "beach.jpg"
    assert all(BackgroundSettings(kind=kind).choice in CHOICES for kind in ("own", "blur", "green", "transparent"))
