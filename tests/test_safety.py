"""The camera's own picture never comes out: a marked one goes in, and the mark is looked for in every output."""

from __future__ import annotations

import io
import itertools
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from engines.warp import WarpEngine
from puppet import lazy_tracker, stream
from puppet.live import Live
from puppet.motion import Retargeter
from puppet.portrait import prepare
from puppet.preflight import Preflight
from puppet.recorder import MotionRecorder, Recorder
from puppet.sender import splash, to_i420
from puppet.settings import sample_portraits
from puppet.sinks import PictureWriter
from puppet.stream import StreamServer
from puppet.tracking import FaceTracker
from puppet.types import Frame, Image, Landmarks, Motion, Portrait, PortraitEmbedding
from puppet.video import CameraError, VideoFile
from puppet.virtual_camera import VirtualCamera

PATIENCE_S = 30.0
MARK = (255, 0, 255)
FAKE_CAMERA = Path(__file__).with_name("fake_camera.py")
Condition = Callable[[], bool]


def marked(image: Image) -> Image:
    """Squares all around, a lattice and a tint over everything; a tracker sees the face in it nevertheless."""
    image = np.asarray(cv2.addWeighted(image, 0.7, np.full_like(image, MARK), 0.3, 0), np.uint8)
    height_px, width_px = image.shape[:2]
    rows, columns = np.indices((height_px, width_px))
    around = (np.abs(columns / width_px - 0.5) > 0.3) | (np.abs(rows / height_px - 0.5) > 0.48)
    image[around & ((rows // 24 + columns // 24) % 2 == 0)] = MARK
    image[(rows % 40 < 2) | (columns % 40 < 2)] = MARK
    return image


def shows_mark(image: Image) -> bool:
    """Whether at least a thousandth of the picture tends to the mark's colour, which no portrait here does."""
    red, green, blue = cv2.split(image)
    return bool((cv2.subtract(cv2.min(red, blue), green) > 30).mean() > 0.001)


@pytest.fixture(scope="module")
def pictures(data: Path) -> list[Image]:
    """A face for half a second, then for as long none."""
    with_face = [frame.image for frame in itertools.islice(VideoFile(data / "face.mp4"), 12)]
    without = [frame.image for frame in itertools.islice(VideoFile(data / "no_face.mp4"), 12)]
    return [marked(image) for image in (*with_face, *without)]


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return prepare(sample_portraits()[0], long_side_px=192)


class Closable:
    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MarkedCamera(Closable):
    """Shows the marked pictures over and over."""

    def __init__(self, pictures: list[Image], *, fails: Condition = lambda: False) -> None:
        self._pictures = pictures
        self._fails = fails
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(itertools.cycle(self._pictures)):
            if self._closed.wait(0.03):
                return
            if self._fails():
                raise CameraError("The camera is gone.")
            yield Frame(image, index, time.monotonic_ns())

    def close(self) -> None:
        self._closed.set()


class FailingEngine(WarpEngine):
    def __init__(self, fails: Condition) -> None:
        super().__init__()
        self._fails = fails

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        if self._fails():
            raise RuntimeError("the engine broke")
        return super().animate(embedding, motion)


class FailingTracker(FaceTracker):
    def __init__(self, fails: Condition) -> None:
        super().__init__(follower=False)
        self._fails = fails

    def __call__(self, frame: Frame) -> Landmarks | None:
        if self._fails():
            raise RuntimeError("the tracker broke")
        return super().__call__(frame)


class LeakingEngine(WarpEngine):
    """What must never be: mixes a quarter of the camera's picture in."""

    def __init__(self, image: Image) -> None:
        super().__init__()
        self._image = image

    def animate(self, embedding: PortraitEmbedding, motion: Motion) -> Image:
        painted = super().animate(embedding, motion)
        leak = cv2.resize(self._image, (painted.shape[1], painted.shape[0]), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.addWeighted(painted, 0.75, leak, 0.25, 0), np.uint8)


class Window(Closable):
    """Keeps what the window would show."""

    def __init__(self) -> None:
        self.images: list[Image] = []

    def send(self, frame: Frame) -> None:
        self.images.append(frame.image)


@dataclass
class Outputs:
    """Everything that Puppet shows or writes, and what was seen there."""

    folder: Path
    motion: MotionRecorder
    window: Window
    recorders: list[Recorder]
    snapshot: PictureWriter
    server: StreamServer
    camera: VirtualCamera
    seen: dict[str, list[Image]] = field(default_factory=lambda: {"stream": [], "virtual camera": []})

    def look(self) -> None:
        """See the stream's next picture and, now and then, what the virtual camera shows at this moment."""
        reply = self._reply
        reply.readline()
        size = int(reply.readline().decode().removeprefix("Content-Length: "))
        reply.readline()
        with Pictures.open(io.BytesIO(reply.read(size))) as picture:
            self.seen["stream"].append(np.asarray(picture))
        reply.readline(), reply.readline()
        planes = self.camera_planes() if len(self.seen["stream"]) % 4 == 0 else None
        if planes is not None:
            self.seen["virtual camera"].append(np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8))

    def camera_planes(self) -> Image | None:
        shown = self.folder / "frame"
        return np.frombuffer(shown.read_bytes(), np.uint8).reshape(1080, 1280) if shown.exists() else None

    def __enter__(self) -> Self:
        self._resources = ExitStack()
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE_S)
        self._resources.callback(connection.close)
        connection.request("GET", f"/{self.server.token}/stream")
        self._reply = self._resources.enter_context(connection.getresponse())
        self._reply.readline()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def read_back(self) -> dict[str, list[Image]]:
        """All pictures by output, of the files, too."""
        self.seen["window"] = self.window.images
        for recorder in self.recorders:
            self.seen[recorder.path.name] = [frame.image for frame in VideoFile(recorder.path)]
        with Pictures.open(self.snapshot.path) as picture:
            self.seen[self.snapshot.path.name] = [np.asarray(picture)]
        return self.seen


@pytest.fixture
def outputs(tmp_path: Path, portrait: Portrait, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outputs]:
    monkeypatch.setenv("PYTHONPATH", str(FAKE_CAMERA.parents[1]))
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    monkeypatch.setenv("FAKE_BACKEND", "v4l2loopback")
    monkeypatch.setattr("puppet.virtual_camera._program", lambda: [sys.executable, str(FAKE_CAMERA)])
    monkeypatch.setattr("puppet.virtual_camera.preflight", lambda device: Preflight("/dev/video7"))
    monkeypatch.setattr(stream, "REPEAT_S", 0.05)
    height_px, width_px = portrait.image.shape[:2]
    with StreamServer(port=0) as server, VirtualCamera() as camera:
        with Outputs(
            folder=tmp_path,
            motion=MotionRecorder(tmp_path / "out.motion"),
            window=Window(),
            recorders=[
                Recorder(tmp_path / name, width_px=width_px, height_px=height_px) for name in ("o.mp4", "o.gif")
            ],
            snapshot=PictureWriter(tmp_path / "o.png", width_px=width_px, height_px=height_px),
            server=server,
            camera=camera,
        ) as outputs:
            yield outputs


def show(
    outputs: Outputs,
    camera: MarkedCamera,
    engine: WarpEngine,
    portrait: Portrait,
    *,
    until: Callable[[Live], bool],
) -> Live:
    """Run the whole until then, every output at work, and look at them all the time."""
    sinks = [outputs.window, *outputs.recorders, outputs.snapshot, outputs.server, outputs.camera]
    with Live(camera, engine=engine, embedding=engine.embed(portrait), retargeter=Retargeter(), sinks=sinks) as live:
        live.add_motion_sink(outputs.motion)
        deadline_s = time.monotonic() + PATIENCE_S
        while not until(live):
            assert time.monotonic() < deadline_s
            outputs.look()
    assert live.failed_sinks == []
    for sink in (*outputs.recorders, outputs.snapshot, outputs.motion):
        sink.close()
    return live


def assert_clean(outputs: Outputs, *, least: int) -> None:
    for output, images in outputs.read_back().items():
        assert len(images) >= (1 if output == "o.png" else least), output
        assert not any(map(shows_mark, images)), output


def test_mark_would_be_seen(pictures: list[Image], portrait: Portrait, outputs: Outputs) -> None:
    """The test of the tests: what lets a quarter of the camera's picture through is caught in each output."""
    assert all(map(shows_mark, pictures))
    assert not shows_mark(portrait.image)
    engine = LeakingEngine(pictures[0])
    show(outputs, MarkedCamera(pictures), engine, portrait, until=lambda live: len(outputs.window.images) > 10)
    for output, images in outputs.read_back().items():
        assert any(map(shows_mark, images)), output


def test_face_comes_and_goes(pictures: list[Image], portrait: Portrait, outputs: Outputs) -> None:
    in_sight: set[bool] = set()

    def until(live: Live) -> bool:
        in_sight.add(live.face_in_sight)
        moved = np.ptp([image.mean() for image in outputs.window.images]) > 0.05 if outputs.window.images else False
        return len(outputs.window.images) > 30 and in_sight == {True, False} and bool(moved)

    with WarpEngine() as engine:
        live = show(outputs, MarkedCamera(pictures), engine, portrait, until=until)
    assert live.error is None
    assert_clean(outputs, least=8)


@pytest.mark.parametrize("part", ["camera", "tracker", "engine"])
def test_a_part_fails(
    part: str, pictures: list[Image], portrait: Portrait, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream holds the last painted picture, the virtual camera comes to its splash."""
    nothing = to_i420(splash()).reshape(1080, 1280)

    def fails() -> bool:
        return len(outputs.window.images) > 5 and len(outputs.seen["stream"]) > 5

    if part == "tracker":
        monkeypatch.setattr(lazy_tracker, "FaceTracker", lambda follower: FailingTracker(fails))
    camera = MarkedCamera(pictures, fails=fails) if part == "camera" else MarkedCamera(pictures)
    with FailingEngine(fails) if part == "engine" else WarpEngine() as engine:
        live = show(
            outputs,
            camera,
            engine,
            portrait,
            until=lambda live: live.error is not None and np.array_equal(outputs.camera_planes(), nothing),
        )
    assert live.error is not None
    assert_clean(outputs, least=2)
    held = outputs.seen["stream"]
    np.testing.assert_array_equal(held[-1], held[-2])


def test_motion_file_has_no_room_for_a_picture(pictures: list[Image], portrait: Portrait, outputs: Outputs) -> None:
    def until(live: Live) -> bool:
        return outputs.motion.frame_count > 20 and live.face_in_sight

    with WarpEngine() as engine:
        show(outputs, MarkedCamera(pictures), engine, portrait, until=until)
    magic, header, packed = outputs.motion.path.read_bytes().split(b"\n", 2)
    assert magic == b"puppet-motion 1"
    described = json.loads(header)
    assert described.keys() == {"fps", "width_px", "height_px", "frames"}
    inflater = zlib.decompressobj()
    data = inflater.decompress(packed)
    assert inflater.unused_data == b""
    present = np.frombuffer(data[: described["frames"]], np.uint8)
    assert len(data) == len(present) + present.sum() * (478 * 3 * 2 + 52 * 2 + 16 * 4)  # points, blendshapes, pose
