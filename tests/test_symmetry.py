"""The far side of a face that looks aside, on a real face turned aside and back, so that the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.symmetry import FarSide
from engines.warp import WarpEngine
from puppet import canonical, settings
from puppet.headpose import rotation_matrix
from puppet.matting import person_matte, still_background
from puppet.motion import REST, target_points
from puppet.portrait import prepare
from puppet.types import Floats, Image, Motion, Portrait

ASIDE = 20.0  # degrees


def turned(degrees: float) -> Motion:
    rotation = rotation_matrix(np.array([0, np.deg2rad(degrees), 0]))
    return replace(REST, rotation=rotation.astype(np.float32), strength=1.0)


@pytest.fixture(scope="module")
def front() -> Portrait:
    return prepare(settings.asset("portraits/astronaut.jpg"), long_side_px=512)


@pytest.fixture(scope="module", params=[ASIDE, -ASIDE])
def aside(front: Portrait, request: pytest.FixtureRequest) -> Portrait:
    """The same face, looking to one side."""
    with WarpEngine() as engine:
        image = engine.animate(engine.embed(front), turned(request.param))
    face = replace(front.landmarks, points=target_points(turned(request.param), front.landmarks))
    matte = person_matte(image, face)
    return Portrait(image, face, matte, still_background(image, matte), key=f"aside {request.param}")


def painted(portrait: Portrait, points: Floats) -> Image:
    with WarpEngine() as engine:
        return engine.paint(engine.embed(portrait), points)


def test_a_face_seen_from_the_front_hides_nothing(front: Portrait) -> None:
    assert FarSide.of(front.landmarks.points) is None


def test_the_side_that_is_turned_away_is_known(aside: Portrait) -> None:
    far = FarSide.of(aside.landmarks.points)
    assert far is not None
    mesh = slice(canonical.MESH_COUNT)
    depth = aside.landmarks.points[mesh, 2]
    assert depth[far.hidden[mesh] > 0.5].min() > np.median(depth)
    assert (far.hidden * far.hidden[canonical.MIRROR]).max() == 0  # never both sides


def test_nothing_is_mirrored_until_the_face_turns(aside: Portrait) -> None:
    far = FarSide.of(aside.landmarks.points)
    assert far is not None
    for degrees in (0.0, -2.5, 2.5):
        assert not far.shown(target_points(turned(degrees), aside.landmarks)).any()
    rest = painted(aside, aside.landmarks.points)
    assert np.abs(rest.astype(int) - aside.image).mean() < 0.02


def test_turned_back_it_is_nearer_to_what_was_hidden(
    front: Portrait, aside: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = front.landmarks.points
    mirrored = painted(aside, points)
    monkeypatch.setattr(FarSide, "of", classmethod(lambda cls, points: None))
    plain = painted(aside, points)
    changed = np.abs(mirrored.astype(int) - plain).max(axis=2) > 8
    assert changed.mean() > 0.002
    error = [np.abs(each.astype(int) - front.image)[changed].mean() for each in (mirrored, plain)]
    assert error[0] < 0.9 * error[1]
    right_is_far = aside.landmarks.points[454, 2] > aside.landmarks.points[234, 2]
    middle = points[canonical.MIRROR == np.arange(len(points)), 0].mean()
    assert (np.flatnonzero(changed.any(axis=0)) > middle).all() == right_is_far


def test_it_comes_gradually(aside: Portrait) -> None:
    far = FarSide.of(aside.landmarks.points)
    assert far is not None
    toward = np.sign(aside.landmarks.points[454, 2] - aside.landmarks.points[234, 2])
    shares = [far.shown(target_points(turned(toward * angle), aside.landmarks)).sum() for angle in range(0, 61, 2)]
    assert shares[-1] > 5
    assert np.diff(shares).min() > -1
    assert np.diff(shares).max() < 0.25 * max(shares)


def test_before_nothing_the_mirrored_side_covers(
    front: Portrait, aside: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = np.zeros((*aside.image.shape[:2], 4), np.uint8)
    with WarpEngine() as engine:
        embedding = replace(engine.embed(aside), backdrop=clear)
        mirrored = engine.paint(embedding, front.landmarks.points)[..., 3].astype(int)
        engine.close()
        monkeypatch.setattr(FarSide, "of", classmethod(lambda cls, points: None))
        plain = engine.paint(embedding, front.landmarks.points)[..., 3].astype(int)
    assert (mirrored - plain).min() >= -1
    assert (mirrored - plain).max() > 50
