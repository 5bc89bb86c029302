"""Whole frames painted by one network, as on a graphics card: they must be what the processor paints by parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from engines import canvas, neural
from engines.canvas import SIDES_PX, Arrays, Painter
from engines.frame import Frame
from engines.neural import NeuralEngine
from engines.pytorch import filled
from engines.runner import Example, RunnerUnavailable, tried
from puppet.facemesh import IRIS, LID_UPPER, LIP_INNER_LOWER, LIP_OUTER_LOWER
from puppet.headpose import rotation_matrix
from puppet.motion import REST, target_points
from puppet.portrait import prepare
from puppet.settings import sample_portraits
from puppet.types import Floats, Image, Portrait, PortraitEmbedding

EQUAL_DB = 45  # the parts sample and round more often


@pytest.fixture(scope="module")
def network() -> Frame:
    return filled(Frame(), neural.DEFAULT)


@pytest.fixture(scope="module")
def paint(network: Frame) -> Painter:
    @torch.inference_mode()
    def painted(frame: Arrays, portrait: Arrays) -> Image:
        picture: Image = network(
            **{name: torch.from_numpy(array) for name, array in {**frame, **portrait}.items()}
        ).numpy()
        return picture

    return painted


class Card(NeuralEngine):
    """Paints whole frames as if its runner could."""

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.frames = 0

        def counted(frame: Arrays, portrait: Arrays) -> Image:
            self.frames += 1
            return painter(frame, portrait)

        def offer(side_px: int, example: Callable[[], Example]) -> Painter:
            self.asked.append(side_px)
            return counted

        self._runner.painter = offer  # type: ignore[method-assign]


@pytest.fixture
def card(paint: Painter) -> Iterator[Card]:
    with Card(paint) as engine:
        yield engine


@pytest.fixture(scope="module")
def by_parts() -> Iterator[NeuralEngine]:
    with NeuralEngine() as engine:
        yield engine


@pytest.fixture(scope="module", params=["astronaut", "painting"])
def portrait(request: pytest.FixtureRequest) -> Portrait:
    path = next(path for path in sample_portraits() if path.stem == request.param)
    return prepare(path, long_side_px=320)


def at_rest(points: Floats) -> Floats:
    return points


def speaking(points: Floats) -> Floats:
    moved = points.copy()
    moved[[*LIP_INNER_LOWER[1:-1], *LIP_OUTER_LOWER[1:-1], 152], 1] += 12
    return moved


def looking_aside(points: Floats) -> Floats:
    moved = points.copy()
    moved[[index for iris in IRIS for index in iris], 0] += 4
    return moved


def winking(points: Floats) -> Floats:
    moved = points.copy()
    moved[list(LID_UPPER[0][1:-1]), 1] += 5
    return moved


def ducking_aside(points: Floats) -> Floats:
    return points + np.array([18, 25, 0], np.float32)


def quality_db(found: Image, wanted: Image) -> float:
    return float(20 * np.log10(255 / np.sqrt(np.mean(np.square(found.astype(float) - wanted)) + 1e-6)))


@pytest.mark.parametrize("pose", [at_rest, speaking, looking_aside, winking, ducking_aside])
def test_equals_what_the_parts_paint(
    pose: Callable[[Floats], Floats], portrait: Portrait, card: Card, by_parts: NeuralEngine
) -> None:
    embedding = by_parts.embed(portrait)
    target = pose(portrait.landmarks.points)
    wanted, found = by_parts.paint(embedding, target), card.paint(embedding, target)
    assert found.shape == wanted.shape
    assert found.flags.owndata
    assert quality_db(found, wanted) > EQUAL_DB
    if pose is not at_rest:
        still = by_parts.paint(embedding, portrait.landmarks.points)
        changed = np.abs(wanted.astype(int) - still).max(axis=2) > 20
        assert quality_db(still[changed], wanted[changed]) < 20
        assert quality_db(found[changed], wanted[changed]) > 33
    assert (card.asked, card.frames) == ([512], 1)


def test_portrait_with_an_open_mouth_shows_its_own(card: Card, by_parts: NeuralEngine) -> None:
    portrait = next(prepare(path, long_side_px=320) for path in sample_portraits() if path.stem == "hopper")
    points = portrait.landmarks.points
    opened = replace(portrait, landmarks=replace(portrait.landmarks, points=speaking(points)))
    embedding = by_parts.embed(opened)  # its mouth is taken for open, and lips for teeth
    assert quality_db(card.paint(embedding, points), by_parts.paint(embedding, points)) > EQUAL_DB


def test_another_portrait_and_a_larger_one(portrait: Portrait, card: Card, by_parts: NeuralEngine) -> None:
    path = next(path for path in sample_portraits() if path.stem == "hopper")
    large = prepare(path, long_side_px=600)
    for each in (portrait, large, portrait):
        embedding = by_parts.embed(each)
        target = speaking(each.landmarks.points)
        assert quality_db(card.paint(embedding, target), by_parts.paint(embedding, target)) > EQUAL_DB
    assert card.asked == [512, 1024]


def test_backdrop_is_painted_on(portrait: Portrait, card: Card, by_parts: NeuralEngine) -> None:
    green = np.empty_like(portrait.image)
    green[:] = 20, 200, 30
    embedding = replace(by_parts.embed(portrait), backdrop=green)
    target = ducking_aside(portrait.landmarks.points)
    assert quality_db(card.paint(embedding, target), by_parts.paint(embedding, target)) > EQUAL_DB
    assert card.frames == 1


def test_what_a_card_cannot_take_is_painted_by_parts(
    portrait: Portrait, card: Card, by_parts: NeuralEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = by_parts.embed(portrait)
    target = speaking(portrait.landmarks.points)

    def same(of: PortraitEmbedding) -> bool:
        return bool((card.paint(of, target) == by_parts.paint(of, target)).all())

    clear = np.dstack([portrait.background, np.zeros(portrait.image.shape[:2], np.uint8)])
    assert same(replace(embedding, backdrop=clear))
    monkeypatch.setattr(canvas, "SIDES_PX", (256,))
    assert same(replace(embedding))
    assert card.frames == 0
    monkeypatch.undo()
    card.frugal = by_parts.frugal = True
    assert not same(replace(embedding))  # the card costs the processor less than even a plain warp would
    by_parts.frugal = False
    assert card.frames == 1


def test_far_side_of_a_face_is_painted_by_parts(portrait: Portrait, card: Card, by_parts: NeuralEngine) -> None:
    front = portrait.landmarks.points
    turn = replace(REST, rotation=rotation_matrix(np.array([0, 0.5, 0])).astype(np.float32), strength=1.0)
    aside = replace(portrait.landmarks, points=target_points(turn, portrait.landmarks))
    embedding = by_parts.embed(replace(portrait, landmarks=aside))
    assert (card.paint(embedding, front) == by_parts.paint(embedding, front)).all()
    assert card.frames == 0
    assert quality_db(card.paint(embedding, aside.points), by_parts.paint(embedding, aside.points)) > EQUAL_DB
    assert card.frames == 1


def test_painter_that_cannot_be_had_is_announced_once(
    portrait: Portrait, card: Card, by_parts: NeuralEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def none(side_px: int, example: Callable[[], Example]) -> Painter:
        raise RunnerUnavailable("the card is too small")

    card._runner.painter = none  # type: ignore[method-assign]
    target = speaking(portrait.landmarks.points)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            embedding = by_parts.embed(portrait)
            assert (card.paint(embedding, target) == by_parts.paint(embedding, target)).all()
    assert caplog.text.count("the card is too small") == 1


@pytest.mark.parametrize("side_px", SIDES_PX)
def test_shipped_graph_passes_its_trial(side_px: int, by_parts: NeuralEngine) -> None:
    session = onnxruntime.InferenceSession(neural.DEFAULT.with_name(f"frame-{side_px}.onnx"))

    def half(frame: Arrays, portrait: Arrays) -> Image:
        picture: Image = session.run(["picture"], {**frame, **portrait})[0]
        return picture

    seen: list[Example] = []

    def example() -> Example:
        seen.append(by_parts._example(side_px))
        return seen[0]

    assert tried(half, example) is half
    _, portrait, picture = seen[0]
    assert quality_db(portrait["canvas"], picture) < 35
    with pytest.raises(RunnerUnavailable, match="grey levels"):
        tried(lambda frame, portrait: portrait["canvas"], example)
