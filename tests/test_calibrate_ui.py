"""The panel of calibration with tracked faces fed in: countdown, guided steps, match score, outline."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication, QLabel, QProgressBar, QPushButton, QSlider, QToolButton
from pytestqt.qtbot import QtBot
from synthetic_face import face

from calibration import collect
from calibration.match import ALIKE, HINTS, match
from puppet.expression import mouth_gap, to_frontal
from puppet.types import Calibration, Landmarks
from ui.calibrate import CalibrationPanel, paint_outline

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # what the offscreen platform cannot do

FRAME_NS = 33_000_000
FRAMES = itertools.count(1)
SHUT = (0.85, 0.85)
INKED = 200  # brightness of a line on black
PATIENCE_MS = 20_000  # for a busy machine


@pytest.fixture
def panel(qtbot: QtBot) -> Iterator[CalibrationPanel]:
    panel = CalibrationPanel(overlay_opacity=0.4)
    panel.set_portrait(face())
    panel.resize(300, 600)
    qtbot.addWidget(panel)
    with qtbot.waitExposed(panel):
        panel.show()
    yield panel
    panel.close_down()
    assert not [thread for thread in threading.enumerate() if thread.name == "puppet-background"]


def text(panel: CalibrationPanel) -> str:
    return "\n".join(label.text() for label in panel.findChildren(QLabel) if label.isVisible())


def press(qtbot: QtBot, panel: CalibrationPanel, name: str) -> None:
    button = next(button for button in panel.findChildren(QPushButton) if button.text() == name)
    button.setFocus()
    qtbot.keyClick(button, Qt.Key.Key_Space)


def digits(panel: CalibrationPanel) -> list[str]:
    """The countdown, as far as it is seen."""
    return [
        label.text() for label in panel.findChildren(QLabel) if label.isVisible() and label.text() in "3 2 1".split()
    ]


# --- the rest


def test_the_rest_is_wanted_after_three_two_one(qtbot: QtBot, panel: CalibrationPanel) -> None:
    seen: list[str] = []
    with qtbot.waitSignal(panel.rest_wanted, timeout=PATIENCE_MS):
        start_s = time.monotonic()
        press(qtbot, panel, "Take my face at rest")
        panel.rest_taken()  # of an earlier wish: it ends nothing
        qtbot.waitUntil(lambda: bool(seen.append("".join(digits(panel)))) or seen[-1] == "1", timeout=PATIENCE_MS)
    assert time.monotonic() - start_s > 2.5
    assert list(dict.fromkeys(seen)) == ["3", "2", "1"]
    assert not digits(panel)
    panel.feed(None)
    assert "No face is seen" in text(panel)
    panel.feed(face())
    assert "Hold still" in text(panel)
    panel.rest_taken()
    assert "Your face at rest is known." in text(panel)
    with qtbot.assertNotEmitted(panel.rest_wanted, wait=1200):
        panel.feed(face())


def test_a_countdown_can_be_given_up(qtbot: QtBot, panel: CalibrationPanel) -> None:
    panel.begin_rest()
    assert digits(panel) == ["3"]
    with qtbot.assertNotEmitted(panel.rest_wanted, wait=3300):
        press(qtbot, panel, "Cancel")
        assert digits(panel) == []


# --- the ranges


def guide(panel: CalibrationPanel, faces: list[Landmarks | None]) -> None:
    for each in faces:
        panel.feed(each)


def faces(seconds: float, **what: object) -> list[Landmarks | None]:
    return [
        face(time_ns=next(FRAMES) * FRAME_NS, **what)  # type: ignore[arg-type]
        for _ in range(round(seconds * 1e9 / FRAME_NS))
    ]


def test_guided_steps_lead_to_a_calibration(qtbot: QtBot, panel: CalibrationPanel) -> None:
    press(qtbot, panel, "Measure eyes and mouth")
    bar = panel.findChildren(QProgressBar)[-1]
    panel.feed(face())
    assert collect.LOOK in text(panel)
    guide(panel, faces(2.2))
    assert collect.SHUT in text(panel)
    half = bar.value()
    assert half == bar.maximum() // 2
    guide(panel, faces(1.0))  # the eyes stay open
    assert bar.value() == half
    guide(panel, faces(1.2, shut=SHUT))
    assert collect.OPEN in text(panel)
    panel.feed(None)
    assert collect.MISSING in text(panel)
    with qtbot.waitSignal(panel.calibrated, timeout=PATIENCE_MS) as signal:
        guide(panel, faces(1.2, jaw_cm=3.0))
    assert signal.args is not None
    calibration = signal.args[0]
    assert isinstance(calibration, Calibration)
    assert calibration.mouth_open == pytest.approx(mouth_gap(to_frontal(face(jaw_cm=3.0))), abs=1e-4)
    assert "measured" in text(panel)
    assert not bar.isVisible()


def test_a_measurement_that_is_given_up_says_nothing_more(qtbot: QtBot, panel: CalibrationPanel) -> None:
    press(qtbot, panel, "Measure eyes and mouth")
    guide(panel, faces(2.2) + faces(1.2, shut=SHUT) + faces(1.2, jaw_cm=3.0))
    with qtbot.assertNotEmitted(panel.calibrated, wait=500):
        panel.begin_rest()
    assert digits(panel) == ["3"]


def test_what_could_not_be_fitted_is_said(
    qtbot: QtBot, panel: CalibrationPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect.Collector, "_complaint", lambda self, landmarks: "")  # whatever is seen counts
    press(qtbot, panel, "Measure eyes and mouth")
    guide(panel, faces(4.4))
    qtbot.waitUntil(lambda: "shut both eyes and try again" in text(panel), timeout=PATIENCE_MS)
    press(qtbot, panel, "Measure eyes and mouth")
    assert "try again" not in text(panel)


# --- the match


@pytest.mark.parametrize(
    ("held", "hint"),
    [
        ({"rotation": (0.25, 0.0, 0.0)}, "Raise your chin a little."),  # the nose is lower
        ({"rotation": (-0.25, 0.0, 0.0)}, "Lower your chin a little."),
        ({"rotation": (0.0, 0.25, 0.0)}, "Turn your head a little to your left."),  # the nose is at the picture's left
        ({"rotation": (0.0, -0.25, 0.0)}, "Turn your head a little to your right."),
        (
            {"rotation": (0.0, 0.0, 0.25)},
            "Tilt your head a little to your right.",
        ),  # the brow is at the picture's right
        ({"rotation": (0.0, 0.0, -0.25)}, "Tilt your head a little to your left."),
        ({"jaw_cm": 1.0}, "Close your mouth a little."),
        ({"shut": (1.0, 1.0)}, "Open your eyes a little."),
    ],
)
def test_the_hint_names_what_to_change(held: dict[str, object], hint: str) -> None:
    found = match(face(**held), face())  # type: ignore[arg-type]
    assert found.hint == hint
    assert found.score < 60
    assert hint in {each for pair in HINTS for each in pair}
    other_way = match(face(), face(**held))  # type: ignore[arg-type]
    assert other_way.hint != hint
    assert other_way.score == found.score


def test_turns_are_those_of_the_picture() -> None:
    nose, brow = 1, 10
    assert face(rotation=(0.0, 0.25, 0.0)).points[nose, 0] < face().points[nose, 0]
    assert face(rotation=(0.25, 0.0, 0.0)).points[nose, 1] > face().points[nose, 1]
    assert face(rotation=(0.0, 0.0, 0.25)).points[brow, 0] > face().points[brow, 0]


def test_the_score_rises_to_its_top_as_the_pose_is_taken_wherever_and_whoever_one_is() -> None:
    scores = [match(face(rotation=(0.0, turn, 0.0)), face()).score for turn in (0.4, 0.3, 0.2, 0.1, 0.0)]
    assert scores == sorted(set(scores))
    elsewhere = match(face(shift_px=(40.0, 20.0), scale=0.7, identity=(1.1, 0.95, 1.0)), face())
    assert elsewhere.score > 90
    assert elsewhere.hint == ALIKE


def test_the_panel_shows_the_score_live(qtbot: QtBot, panel: CalibrationPanel) -> None:
    panel.feed(face())
    assert "100" in text(panel)
    assert ALIKE in text(panel)
    panel.feed(face(rotation=(0.0, 0.25, 0.0)))
    assert "Turn your head" in text(panel)
    assert "100" not in text(panel)
    panel.feed(None)
    assert "No face is seen" in text(panel)


# --- the outline


def drawn(portrait: Landmarks, *, over: Landmarks | None, opacity: float = 1.0, mirrored: bool = False) -> np.ndarray:
    """(240, 320) brightness of the outline on black; the area is the camera's picture, one to one."""
    image = QImage(320, 240, QImage.Format.Format_Grayscale8)
    image.fill(0)
    painter = QPainter(image)
    area = QRectF(0, 0, 320, 240)
    paint_outline(painter, portrait, over=over, area=area, opacity=opacity, mirrored=mirrored)
    painter.end()
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(240, image.bytesPerLine())
    return rows[:, :320].copy()


def test_the_outline_lies_over_the_users_face_whatever_the_portraits_size(qtbot: QtBot) -> None:
    user = face(shift_px=(30.0, -10.0), scale=0.8)
    lines = drawn(face(), over=user)
    rows, columns = np.nonzero(lines > INKED)
    oval = user.points[[234, 454, 10, 152], :2]
    assert columns.min() == pytest.approx(oval[0, 0], abs=3)
    assert columns.max() == pytest.approx(oval[1, 0], abs=3)
    assert rows.min() == pytest.approx(oval[2, 1], abs=3)
    assert rows.max() == pytest.approx(oval[3, 1], abs=3)
    for index in (159, 386, 0, 17):  # lids and lips
        x, y = user.points[index, :2].round().astype(int)
        assert lines[y - 2 : y + 3, x - 2 : x + 3].max() > INKED


def test_the_outline_keeps_the_portraits_turn_and_is_mirrored_with_the_self_view(qtbot: QtBot) -> None:
    turned = face(rotation=(0.0, 0.3, 0.0))
    lines = drawn(turned, over=face())
    assert not np.array_equal(lines, drawn(face(), over=face()))
    mirrored = drawn(turned, over=face(), mirrored=True)
    assert np.abs(lines[:, ::-1].astype(int) - np.roll(mirrored, -1, axis=1)).mean() < 12
    assert np.abs(lines.astype(int) - mirrored).mean() > np.abs(lines[:, ::-1].astype(int) - mirrored).mean()


def test_without_a_face_the_outline_stands_in_the_middle(qtbot: QtBot) -> None:
    rows, columns = np.nonzero(drawn(face(shift_px=(50.0, 0.0), scale=0.5), over=None) > INKED)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(160, abs=3)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(120, abs=3)
    assert np.ptp(rows) == pytest.approx(0.55 * 240, abs=4)


def test_opacity_fades_the_outline(qtbot: QtBot) -> None:
    peaks = [int(drawn(face(), over=face(), opacity=opacity).max()) for opacity in (0.0, 0.3, 1.0)]
    assert peaks[0] == 0
    assert 40 < peaks[1] < 120
    assert peaks[2] > INKED


def test_the_outlines_slider_tells_its_opacity(qtbot: QtBot, panel: CalibrationPanel) -> None:
    slider = panel.findChild(QSlider)
    assert slider.value() == 40
    slider.setFocus()
    with qtbot.waitSignal(panel.overlay_changed) as told:
        qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert told.args == [pytest.approx(0.45)]


def test_closing_gives_up_what_is_under_way(qtbot: QtBot, panel: CalibrationPanel) -> None:
    panel.begin_rest()
    close = next(b for b in panel.findChildren(QToolButton) if b.accessibleName() == "Close the calibration")
    with qtbot.waitSignal(panel.closed):
        qtbot.mouseClick(close, Qt.MouseButton.LeftButton)
    assert digits(panel) == []
    QApplication.sendEvent(panel, QEvent(QEvent.Type.PaletteChange))
    assert not close.icon().isNull()
