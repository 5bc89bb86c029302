"""Several pictures of one person: which are taken, which are left out, and where they come to lie."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet import album, facemesh, identity
from puppet.__main__ import main
from puppet.frames import differences, different, different_frames
from puppet.headpose import STABLE
from puppet.overlay import Album, album_of
from puppet.portrait import prepare
from puppet.recording import Recording
from puppet.settings import asset
from puppet.tracking import settle
from puppet.types import Engine, Image, Portrait, PortraitEmbedding
from puppet.video import VideoFile

HOPPER, ASTRONAUT = asset("portraits/hopper.jpg"), asset("portraits/astronaut.jpg")


def save(path: Path, image: Image) -> Path:
    cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture(scope="module")
def frames(data: Path) -> list[Image]:
    """A man who turns and blinks."""
    return [frame.image for frame in VideoFile(data / "turn.mp4")]


@pytest.fixture(scope="module")
def pictures(frames: list[Image], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """His picture, and two further ones."""
    folder = tmp_path_factory.mktemp("pictures")
    return [save(folder / f"{index}.png", frames[index]) for index in (0, 20, 45)]


@pytest.fixture(scope="module")
def portrait(pictures: list[Path]) -> Portrait:
    return prepare(pictures[0])


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = Recording.load(asset("sample.motion"))
    path = tmp_path_factory.mktemp("brief") / "brief.motion"
    Recording(sample.fps, sample.width_px, sample.height_px, sample.faces[:3]).save(path)
    return path


def test_pictures_of_one_scene_are_whole_and_stay_in_place(pictures: list[Path], frames: list[Image]) -> None:
    made = album.gather(pictures[0], pictures[1:])
    assert not isinstance(album.gather(pictures[0], []), Album)
    assert [view.whole for view in made.views] == [True, True]
    for view, frame in zip(made.views, (frames[20], frames[45]), strict=True):
        assert (view.image == frame).all()
        assert view.landmarks.points.shape == (478, 3)


def test_another_framing_is_laid_over_the_portrait_and_lends_its_face(portrait: Portrait, frames: list[Image]) -> None:
    height_px, width_px = frames[30].shape[:2]
    turn = cv2.getRotationMatrix2D((width_px / 2, height_px / 2), 20, 1.2)
    turned = np.asarray(cv2.warpAffine(frames[30], turn, (width_px + 40, height_px)), np.uint8)
    face = settle(turned)
    assert face is not None
    (view,) = album_of(portrait, [(turned, face)], key="").views
    assert not view.whole
    assert view.image.shape == portrait.image.shape
    apart = np.linalg.norm((view.landmarks.points - portrait.landmarks.points)[STABLE, :2], axis=1)
    assert apart.mean() < 0.03 * np.ptp(portrait.landmarks.points[:, 0])
    seen = settle(view.image)  # the picture went where its landmarks went
    assert seen is not None
    assert np.linalg.norm((seen.points - view.landmarks.points)[:, :2], axis=1).mean() < 2.5


def test_other_light_or_clothes_lend_the_face_alone(portrait: Portrait, frames: list[Image]) -> None:
    dark = (frames[30] * 0.5).astype(np.uint8)
    face = settle(frames[30])
    assert face is not None
    bright, dim = album_of(portrait, [(frames[30], face), (dark, face)], key="").views
    assert (bright.whole, dim.whole) == (True, False)


def test_what_the_person_hid_is_revealed(portrait: Portrait) -> None:
    height_px, width_px = portrait.matte.shape
    rows, columns = np.mgrid[0:height_px, 0:width_px]
    wall = np.stack([(rows * 3) % 200, (columns * 5) % 180, 90 + (rows + columns) % 60], -1).astype(np.uint8)
    share = portrait.matte[..., None] / 255
    scene = (share * portrait.image + (1 - share) * wall).astype(np.uint8)
    shift_px = width_px // 8
    moved_share, moved_person = (np.roll(each, shift_px, axis=1) for each in (share, portrait.image))
    moved = (moved_share * moved_person + (1 - moved_share) * wall).astype(np.uint8)
    points = portrait.landmarks.points + np.array([shift_px, 0, 0], np.float32)
    before = replace(portrait, image=scene, background=np.where(share == 0, wall, 0).astype(np.uint8))
    after = album_of(before, [(moved, replace(portrait.landmarks, points=points))], key="")
    revealed = (portrait.matte == 255) & (cv2.dilate(np.roll(portrait.matte, shift_px, axis=1), np.ones((25, 25))) == 0)
    assert revealed.sum() > 100
    assert np.abs(after.background.astype(int) - wall)[revealed].mean() < 1
    assert (after.background == scene)[portrait.matte == 0].all()


def test_most_different_frames_of_a_video(data: Path, portrait: Portrait) -> None:
    with VideoFile(data / "turn.mp4") as video:
        taken = list(different_frames(video, portrait.landmarks.points, most=6))
        everything = list(different_frames(video, portrait.landmarks.points, most=31))
    assert len(taken) == 6
    assert len(everything) > 6
    spread = np.stack([face.points for _, face in taken])
    farthest = max(
        differences(np.concatenate([portrait.landmarks.points[None], spread]), face.points).min()
        for _, face in everything
    )
    unaided = max(differences(portrait.landmarks.points[None], face.points)[0] for _, face in everything)
    assert farthest < 0.6 * unaided


def test_difference_is_of_pose_and_expression_alone(portrait: Portrait) -> None:
    points = portrait.landmarks.points
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    elsewhere = (1.7 * points @ turn.T + (40, -30, 0)).astype(np.float32)
    assert differences(points[None], elsewhere)[0] < 1e-3
    squeezed = points * np.array([0.9, 1, 1], np.float32)
    assert differences(points[None], squeezed)[0] > 0.05


def test_an_eye_that_is_shut_cannot_be_opened(portrait: Portrait) -> None:
    points = portrait.landmarks.points
    shut = points.copy()
    for upper, lower in zip(facemesh.LID_UPPER, facemesh.LID_LOWER, strict=True):
        shut[list(upper)] = shut[list(lower)]
    assert differences(shut[None], points)[0] > 1.5 * differences(points[None], shut)[0]


def test_different_ends_where_nothing_is_new(portrait: Portrait) -> None:
    points = portrait.landmarks.points
    squeezed = points * np.array([0.8, 1, 1], np.float32)
    assert different([points, squeezed, points, squeezed], points, most=4, least=0.02) == [1]
    assert different([], points, most=4) == []


def test_identity_knows_people_apart(frames: list[Image], portrait: Portrait) -> None:
    other_frame = settle(frames[40])
    assert other_frame is not None
    him = identity.describe(portrait.image, portrait.landmarks)
    assert him.shape == (128,)
    assert identity.distance(him, identity.describe(frames[40], other_frame)) < 0.45
    for path in (HOPPER, ASTRONAUT):
        stranger = prepare(path, long_side_px=256)
        assert identity.distance(him, identity.describe(stranger.image, stranger.landmarks)) > 0.65


def test_identity_is_that_of_dlib(portrait: Portrait) -> None:
    pytest.importorskip("dlib")
    from engines.training.identity import IdentityNet, identity_similarity

    theirs = IdentityNet().describe(portrait.image, portrait.landmarks.points)
    ours = identity.describe(portrait.image, portrait.landmarks)
    assert identity_similarity(ours[None], theirs[None])[0] > 0.99


def test_strangers_are_named_and_left_out(
    pictures: list[Path], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = album.gather(pictures[0], [pictures[1], HOPPER])
    assert len(made.views) == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "somebody else" in record.message
    assert str(HOPPER) in record.message
    assert str(pictures[1]) not in record.message
    out = tmp_path / "out.mp4"
    command = ["render", str(pictures[0]), str(asset("sample.motion")), str(out)]
    assert main([*command, "--also", str(HOPPER), "--also", str(ASTRONAUT)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "None of the further pictures" in line
    assert HOPPER.name in line
    assert ASTRONAUT.name in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("missing.jpg", lambda path: None),
        ("empty.jpg", lambda path: path.touch()),
        ("text.mp4", lambda path: path.write_text("nothing to be seen", encoding="utf-8")),
        ("cut.jpg", lambda path: path.write_bytes(HOPPER.read_bytes()[:3000])),
        ("wall.png", lambda path: save(path, np.full((128, 128, 3), 180, np.uint8))),
        ("folder", lambda path: path.mkdir()),
    ],
)
def test_bad_further_pictures(
    name: str,
    make: Callable[[Path], object],
    pictures: list[Path],
    brief: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / name)
    folder = tmp_path / "out"
    folder.mkdir()
    command = ["render", str(pictures[0]), str(brief), str(folder / "out.mp4"), "--also", str(tmp_path / name)]
    assert main(command) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("puppet: ")
    assert name in line
    assert not list(folder.iterdir())


def test_video_without_a_face(data: Path, pictures: list[Path]) -> None:
    with pytest.raises(LookupError, match=r"no_face\.mp4"):
        album.gather(pictures[0], [data / "no_face.mp4"])


def test_render_says_how_many_pictures_it_used(
    pictures: list[Path], brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["render", str(pictures[0]), str(brief), str(tmp_path / "out.gif"), "--json"]
    assert main([*command, "--also", str(pictures[1])]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 1


class Kept:
    """An engine that counts."""

    name = "kept"

    def __init__(self) -> None:
        self.albums: list[Album] = []

    def embed(self, made: Portrait | PortraitEmbedding) -> PortraitEmbedding:
        assert isinstance(made, Album)
        self.albums.append(made)
        return PortraitEmbedding(self.name, made)


def test_albums_are_kept(pictures: list[Path], tmp_path: Path) -> None:
    engine = Kept()
    as_engine: Engine = engine  # type: ignore[assignment]
    first = album.embed(pictures[0], as_engine, also=pictures[1:2], cache=tmp_path)
    again = album.embed(pictures[0], as_engine, also=pictures[1:2], cache=tmp_path)
    assert len(engine.albums) == 1
    assert first.portrait.key == again.portrait.key
    assert (first.portrait.background == again.portrait.background).all()
    other = album.embed(pictures[0], as_engine, also=pictures[2:], cache=tmp_path)
    assert len(engine.albums) == 2
    assert other.portrait.key != first.portrait.key
