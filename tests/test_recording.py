"""The .motion file: what is loaded is what was saved, and nothing that is not a recording gets through."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from puppet.recording import Recording, RecordingError
from puppet.types import Landmarks


def head(index: int) -> Landmarks:
    """A face-like cloud of points that sways and trembles as tracked ones do."""
    rng = np.random.default_rng(index)
    shape = np.random.default_rng(1000).normal(size=(478, 3), scale=60)
    centre = 320 + 20 * np.sin(index / 10), 180 + 5 * np.cos(index / 7), 0
    points = shape + np.array(centre) + rng.normal(scale=0.15, size=(478, 3))
    pose = np.eye(4) + rng.normal(scale=0.01, size=(4, 4))
    return Landmarks(
        points.astype(np.float32), rng.random(52, np.float32), pose.astype(np.float32), 640, 360, index=index
    )


@pytest.fixture
def recording() -> Recording:
    faces = tuple(None if index in (0, 5, 6) else head(index) for index in range(60))
    return Recording(Fraction(30000, 1001), 640, 360, faces)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "take.motion"


def test_comes_back_as_it_was(recording: Recording, path: Path) -> None:
    recording.save(path)
    loaded = Recording.load(path)
    assert (loaded.fps, loaded.width_px, loaded.height_px, len(loaded)) == (Fraction(30000, 1001), 640, 360, 60)
    for index, (face, expected) in enumerate(zip(loaded, recording, strict=True)):
        if expected is None:
            assert face is None
            continue
        assert face is not None
        assert face.points.dtype == face.blendshapes.dtype == face.pose.dtype == np.float32
        np.testing.assert_allclose(face.points, expected.points, atol=0.02)
        np.testing.assert_allclose(face.blendshapes, expected.blendshapes, atol=1e-5)
        np.testing.assert_array_equal(face.pose, expected.pose)
        assert (face.width_px, face.height_px, face.index) == (640, 360, index)
        assert face.time_ns == round(index * 1_001_000_000 / 30)


def test_quarter_of_a_minute_takes_less_than_a_megabyte(path: Path) -> None:
    Recording(Fraction(30), 640, 360, tuple(head(index) for index in range(450))).save(path)
    assert path.stat().st_size < 1_000_000


def test_points_far_outside_are_moved_in_not_wrapped(path: Path) -> None:
    face = dataclasses.replace(head(0), points=np.full((478, 3), -5000, np.float32))
    Recording(Fraction(30), 640, 360, (face, head(1))).save(path)
    outside, inside = Recording.load(path)
    assert outside is not None
    assert inside is not None
    np.testing.assert_allclose(outside.points, -1280, atol=0.02)
    np.testing.assert_allclose(inside.points, head(1).points, atol=0.02)


def test_recording_without_any_face(path: Path) -> None:
    Recording(Fraction(25), 640, 360, (None, None)).save(path)
    assert Recording.load(path).faces == (None, None)


def test_document_describes_the_file(recording: Recording, path: Path) -> None:
    """The reader printed in docs/motion-format.md reads what `save` writes."""
    document = (Path(__file__).parents[1] / "docs" / "motion-format.md").read_text(encoding="utf-8")
    [reader] = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    names: dict[str, object] = {}
    exec(reader, names)
    recording.save(path)
    read = names["read"]
    assert callable(read)
    header, present, points, blendshapes, pose = read(path)
    assert header == {"fps": [30000, 1001], "width_px": 640, "height_px": 360, "frames": 60}
    assert present.tolist() == [face is not None for face in recording]
    seen = [face for face in Recording.load(path) if face is not None]
    np.testing.assert_allclose(points, [face.points for face in seen], atol=1e-3)
    np.testing.assert_allclose(blendshapes, [face.blendshapes for face in seen], atol=1e-6)
    np.testing.assert_array_equal(pose, [face.pose for face in seen])


def test_holds_nothing_but_numbers(recording: Recording, path: Path) -> None:
    recording.save(path)
    magic, header, _ = path.read_bytes().split(b"\n", 2)
    assert magic == b"puppet-motion 1"
    assert header == b'{"fps": [30000, 1001], "width_px": 640, "height_px": 360, "frames": 60}'


HEADER = b'{"fps": [30, 1], "width_px": 640, "height_px": 360, "frames": %s}\n'
DAMAGED = "damaged or incomplete"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a recording"),
        (b"Dear diary,\n", "not a recording"),
        (bytes(5000), "not a recording"),
        (b"puppet-motion one\n", "not a recording"),
        (b"puppet-motion 2\nwhatever comes then", "format 2.*update"),
        (b"puppet-motion 1\n", DAMAGED),
        (b"puppet-motion 1\n[]\n", DAMAGED),
        (b"puppet-motion 1\n" + b"[" * 1000 + b"\n", DAMAGED),
        (b"puppet-motion 1\n" + HEADER.replace(b"[30, 1]", b"[30, 0]") % b"1", DAMAGED),
        (b"puppet-motion 1\n" + HEADER.replace(b"640", b'"640"') % b"1", DAMAGED),
        (b"puppet-motion 1\n" + HEADER % b"2.5", DAMAGED),
        (b"puppet-motion 1\n" + HEADER.replace(b"[30, 1]", b"[-30, 1]") % b"1", "not a rate"),
        (b"puppet-motion 1\n" + HEADER.replace(b"640", b"0") % b"1", "not a picture's size"),
        (b"puppet-motion 1\n" + HEADER % b"0", "0 frames"),
        (b"puppet-motion 1\n" + HEADER % b"999999999999", "999999999999 frames"),
        (b"puppet-motion 1\n" + HEADER % b"1" + b"no zlib", DAMAGED),
        (b"puppet-motion 1\n" + HEADER % b"2" + zlib.compress(b"\1\0" + bytes(100)), DAMAGED),
        (b"puppet-motion 1\n" + HEADER % b"1" + zlib.compress(b"\1" + bytes(2972) + b"\xff" * 64), DAMAGED),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=sentence) as caught:
        Recording.load(path)
    assert "take.motion" in str(caught.value)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_truncated_file_is_refused(recording: Recording, path: Path, kept: float) -> None:
    recording.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(RecordingError):
        Recording.load(path)


def test_flipped_bit_is_refused(recording: Recording, path: Path) -> None:
    recording.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=DAMAGED):
        Recording.load(path)


def test_zip_bomb_is_not_inflated(path: Path) -> None:
    path.write_bytes(b"puppet-motion 1\n" + HEADER % b"10" + zlib.compress(bytes(200_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match=DAMAGED):
            Recording.load(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        Recording.load(tmp_path / "nowhere.motion")
    with pytest.raises(RecordingError, match="directory"):
        Recording.load(tmp_path)


def test_failed_save_leaves_the_old_file(recording: Recording, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"precious")

    def full(self: Path, data: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordingError, match="No space left"):
        recording.save(path)
    assert path.read_bytes() == b"precious"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_to_save(path: Path) -> None:
    with pytest.raises(RecordingError, match="0 frames"):
        Recording(Fraction(30), 640, 360, ()).save(path)
    assert not path.exists()
