"""The warp engine on a real portrait: what moves, what stays, and what shows in mouth and eyes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

import engines
from engines import flow, slit
from engines.warp import WarpEngine
from puppet import facemesh, settings
from puppet.portrait import prepare
from puppet.tracking import FaceTracker
from puppet.types import Floats, Frame, Image, Landmarks, PortraitEmbedding


@pytest.fixture(scope="module")
def engine() -> Iterator[WarpEngine]:
    with WarpEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def embedding(engine: WarpEngine) -> PortraitEmbedding:
    return engine.embed(prepare(settings.asset("portraits/astronaut.jpg"), long_side_px=512))


def track(*images: Image) -> list[Landmarks]:
    """The face of each picture, seen long enough for the tracker to settle."""
    found = []
    for image in images:
        with FaceTracker() as tracker:
            faces = [tracker(Frame(image, index, index * 40_000_000)) for index in range(3)]
        assert faces[-1] is not None
        found.append(faces[-1])
    return found


def gap(points: Floats, upper: int, lower: int) -> float:
    return float(np.linalg.norm(points[upper, :2] - points[lower, :2]))


def opened(points: Floats, share: float) -> Floats:
    """The mouth parted by `share` of the face's size, the jaw going along."""
    target = points.copy()
    drop = share * flow.face_size(points)
    arch = drop * np.sqrt(np.sin(np.linspace(0, np.pi, 11)))
    target[list(facemesh.LIP_INNER_LOWER), 1] += arch
    target[list(facemesh.LIP_OUTER_LOWER), 1] += arch
    target[[152, 148, 377, 176, 400, 175, 199, 200, 18], 1] += drop
    return target


def shut(points: Floats) -> Floats:
    """Both eyes closed on the lower lid."""
    target = points.copy()
    for upper, lower in zip(facemesh.LID_UPPER, facemesh.LID_LOWER, strict=True):
        target[list(upper)] = target[list(lower)]
    return target


def test_rest_is_the_portrait(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    painted = engine.paint(embedding, portrait.landmarks.points)
    error = np.abs(painted.astype(int) - portrait.image)
    assert painted.shape == portrait.image.shape
    assert painted.dtype == np.uint8
    assert error.mean() < 0.02
    assert np.percentile(error, 99.9) <= 4


def test_background_stays_when_the_head_moves(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    points = portrait.landmarks.points
    size = flow.face_size(points)
    centre = points[list(facemesh.OVAL)].mean(axis=0)
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    target = ((points - centre) @ turn.T + centre + (0.08 * size, 0.03 * size, 0)).astype(np.float32)
    painted = engine.paint(embedding, target)
    reach = int(0.5 * size) | 1
    still = cv2.dilate(portrait.matte, np.ones((reach, reach), np.uint8)) == 0
    assert still.mean() > 0.1
    assert np.abs(painted.astype(int) - portrait.image)[still].mean() < 1
    (seen,) = track(painted)
    drawn = np.linalg.norm((seen.points - target)[:468, :2], axis=1).mean()
    unmoved = np.linalg.norm((points - target)[:468, :2], axis=1).mean()
    assert drawn < 0.25 * unmoved


def test_mouth_opens_onto_a_dark_inside(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    points = embedding.portrait.landmarks.points
    target = opened(points, 0.12)
    painted = engine.paint(embedding, target)
    rest, open_ = track(embedding.portrait.image, painted)
    size = flow.face_size(points)
    assert gap(open_.points, 13, 14) - gap(rest.points, 13, 14) > 0.08 * size
    middle = ((target[13] + target[14]) / 2)[:2]
    x, y = np.rint(middle + (0, 0.01 * size)).astype(int)
    inside = painted[y - 1 : y + 2, x - 1 : x + 2].mean()
    lip = painted[int(target[17, 1]) - 2, int(target[17, 0])].mean()
    assert inside < 0.6 * lip


def test_eyes_close_with_skin_and_open_again(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    points = portrait.landmarks.points
    closed = engine.paint(embedding, shut(points))
    again = engine.paint(embedding, points)
    rest, blink, reopened = track(portrait.image, closed, again)
    for upper, lower in ((159, 145), (386, 374)):
        assert gap(blink.points, upper, lower) < 0.55 * gap(rest.points, upper, lower)
        assert gap(reopened.points, upper, lower) == pytest.approx(gap(rest.points, upper, lower), rel=0.1)


def test_iris_follows_gaze(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    points = embedding.portrait.landmarks.points
    width = gap(points, 33, 133)
    looks = []
    for shift in (-0.14, 0.14):
        target = points.copy()
        target[468:478, 0] += shift * width
        looks.append(engine.paint(embedding, target))
    left, right = track(*looks)
    for centre in (468, 473):
        assert right.points[centre, 0] - left.points[centre, 0] > 0.1 * width


def test_backdrop_takes_the_background_s_place(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    points = portrait.landmarks.points
    green = np.zeros_like(portrait.image)
    green[..., 1] = 255
    painted = engine.paint(replace(embedding, backdrop=green), points)
    assert (painted[portrait.matte == 0] == (0, 255, 0)).all()
    person = portrait.matte == 255
    assert np.abs(painted.astype(int) - portrait.image)[person].mean() < 0.1
    clear = engine.paint(replace(embedding, backdrop=np.zeros((*portrait.matte.shape, 4), np.uint8)), points)
    assert clear.shape == (*portrait.matte.shape, 4)
    assert (clear[..., 3][portrait.matte == 0] == 0).all()
    assert (clear[..., 3][person] == 255).all()
    assert np.abs(clear[..., :3].astype(int) - portrait.image)[person].mean() < 0.1


def test_wild_motion_is_survived(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    points = embedding.portrait.landmarks.points
    centre = points.mean(axis=0)
    wild = {
        "mirrored": centre - (points - centre),
        "flat": centre + 0 * points,
        "far away": points + 10_000,
        "huge": centre + 30 * (points - centre),
        "noise": points + np.random.default_rng(0).normal(0, 60, points.shape),
    }
    for target in wild.values():
        assert engine.paint(embedding, target.astype(np.float32)).shape == embedding.portrait.image.shape


def test_face_at_the_edge_of_the_picture(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    cut = int(portrait.landmarks.points[:, 0].mean()) & ~1
    landmarks = replace(portrait.landmarks, width_px=cut)
    half = replace(
        portrait,
        image=np.ascontiguousarray(portrait.image[:, :cut]),
        matte=np.ascontiguousarray(portrait.matte[:, :cut]),
        background=np.ascontiguousarray(portrait.background[:, :cut]),
        landmarks=landmarks,
        key="half",
    )
    painted = engine.paint(engine.embed(half), opened(landmarks.points, 0.1))
    assert painted.shape == half.image.shape


def test_embedding_passes_through(engine: WarpEngine, embedding: PortraitEmbedding) -> None:
    assert engine.embed(embedding) is embedding


def test_inverse_flow_undoes_the_forward_one() -> None:
    rows, columns = np.mgrid[0 : flow.GRID, 0 : flow.GRID].astype(np.float32)
    bump = np.exp(-(((rows - 32) ** 2 + (columns - 32) ** 2) / 120))
    forward = np.stack([5 * bump, -8 * bump], axis=-1).astype(np.float32) * 2
    back = flow.invert(forward, (2.0, 2.0))
    row, column = 36, 30  # where 30 + u, 36 + v lands, the way back must lead here again
    u, v = forward[row, column] / 2
    x, y = column + u, row + v
    corner = back[int(y) : int(y) + 2, int(x) : int(x) + 2] / 2
    fx, fy = x - int(x), y - int(y)
    weights = np.array([[(1 - fx) * (1 - fy), fx * (1 - fy)], [(1 - fx) * fy, fx * fy]])
    home = np.array([x, y]) + (corner * weights[..., None]).sum(axis=(0, 1))
    assert home == pytest.approx((column, row), abs=0.05)


def test_spline_of_fewer_nodes_is_the_whole_one(embedding: PortraitEmbedding) -> None:
    portrait = embedding.portrait
    rows, columns = flow.region_of(portrait.landmarks.points, width_px=portrait.image.shape[1], height_px=512)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    source = portrait.landmarks.points - np.array([columns.start, rows.start, 0], np.float32)
    controls = flow.controls_of(source, bottom_px=512 - rows.start)
    basis = embedding.tensors["basis"].astype(np.float32)
    shifts = flow.displacements(controls, source, opened(source, 0.1) + np.array([6, 4, 0], np.float32))
    whole = (basis @ shifts).reshape(flow.GRID, flow.GRID, 2)
    fewer = flow.Spline(basis, source, shape)(shifts)
    assert np.abs(whole).max() > 10
    assert np.abs(fewer - whole).max() < 0.2
    nodes = source[:, 1::-1] * (flow.GRID / np.array(shape))
    top, left = np.floor(nodes.min(axis=0)).astype(int)
    bottom, right = np.ceil(nodes.max(axis=0)).astype(int)
    np.testing.assert_allclose(fewer[top:bottom, left:right], whole[top:bottom, left:right], atol=1e-3)


def test_opening_inside_is_the_part_that_shows(embedding: PortraitEmbedding) -> None:
    source = embedding.portrait.landmarks.points
    target, still = opened(source, 0.1), np.zeros((478, 2), np.float32)
    rest = slit.heights(slit.MOUTH, source)
    height_px, width_px = embedding.portrait.image.shape[:2]
    edges = slit.edges_of(slit.MOUTH, source[:, :2], target[:, :2], still, rest)
    whole = slit.open_slit(slit.MOUTH, edges, width_px=width_px, height_px=height_px)
    assert whole is not None
    part = whole.inside()
    assert part is not None
    assert part.mask.size < 0.7 * whole.mask.size
    masks = np.zeros((2, height_px, width_px), np.float32)
    masks[0][whole.box], masks[1][part.box] = whole.mask, part.mask
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(part.pixels[0, 0], (part.box[1].start, part.box[0].start))
    assert replace(whole, mask=np.zeros_like(whole.mask)).inside() is None


def test_load_names_what_there_is() -> None:
    assert engines.load("warp").name == "warp"
    with pytest.raises(engines.EngineUnavailable, match=r"no engine 'wrap'.*warp"):
        engines.load("wrap")
