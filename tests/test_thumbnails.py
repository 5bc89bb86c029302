"""Thumbnails show the selected face, move, and are made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engines import load
from puppet import thumbnails
from puppet.library import Library
from puppet.portrait import Selection
from puppet.thumbnails import FRAMES, SIDE_PX, film, still
from puppet.tracking import detect, face_width_px

HOPPER = Path(__file__).parent.parent / "puppet/assets/portraits/hopper.jpg"


def test_a_still_one_is_filled_by_the_selected_face(data: Path, tmp_path: Path) -> None:
    entry = Library(tmp_path).entry(data / "group.jpg")
    seen = []
    for place in ((0.25, 0.4), (0.8, 0.3)):
        thumbnail = still(replace(entry, selection=Selection(face=place)), folder=tmp_path / "kept")
        assert thumbnail.shape == (SIDE_PX, SIDE_PX, 3)
        (face,) = detect(thumbnail)
        assert 0.4 < face_width_px(face) / SIDE_PX < 0.7
        seen.append(thumbnail)
    assert np.abs(seen[0].astype(int) - seen[1]).mean() > 20


def test_a_picture_without_a_face_has_one_too(tmp_path: Path) -> None:
    tall = tmp_path / "tall.png"
    Pillow.new("RGB", (90, 400), (90, 120, 60)).save(tall)
    assert (np.abs(still(Library(tmp_path).entry(tall), folder=tmp_path).astype(int) - (90, 120, 60)) < 4).all()


def test_a_film_moves_from_rest_to_rest_and_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry = Library(tmp_path).entry(HOPPER)
    with load("warp") as engine:
        frames = np.array(film(entry, engine, folder=tmp_path), np.int16)
        assert frames.shape == (FRAMES, SIDE_PX, SIDE_PX, 3)
        moved = np.abs(frames - frames[0]).mean(axis=(1, 2, 3))
        assert moved.max() > 8
        assert np.abs(frames[0] - still(entry, folder=tmp_path)).mean() < 0.6 * moved.max()
        assert np.abs(frames[-1] - frames[0]).mean() < 0.6 * moved.max()
        monkeypatch.setattr(thumbnails, "prepare", lambda *_, **__: pytest.fail("made again"))
        again = film(entry, engine, folder=tmp_path)
        assert np.abs(frames - np.array(again)).mean() < 4  # kept as JPEG
    (file,) = (path for path in tmp_path.glob("*.jpg") if path.stat().st_size > 100_000)
    file.write_bytes(file.read_bytes()[:1000])
    assert thumbnails._read(file, frames=FRAMES) is None
    assert "cannot be used" in caplog.text
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in the way").touch()
    assert still(Library(tmp_path).entry(HOPPER), folder=tmp_path / "in the way").shape == (SIDE_PX, SIDE_PX, 3)
    assert len(caplog.records) == 1
    assert "not kept for next time" in caplog.text
