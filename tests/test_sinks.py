"""Written files, read back: pictures, colours, timing, sound; and that nothing is left where writing failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pictures

from puppet.camera import VideoFile
from puppet.sinks import FileSink, FrameFolder, GifWriter, PictureWriter, SinkError, VideoWriter, open_sink
from puppet.types import Frame, Image

FPS = Fraction(24000, 1001)
PRIMARIES = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 150, 120))


@pytest.fixture(scope="module")
def clip() -> list[Frame]:
    """A second of a real face."""
    frames = list(VideoFile(Path(__file__).parent / "data" / "face.mp4"))[:24]
    return [Frame(np.ascontiguousarray(frame.image[:, :512]), frame.index, frame.time_ns) for frame in frames]


def noise(index: int) -> Frame:
    """What compresses badly, so that a small disk is full soon."""
    rng = np.random.default_rng(index)
    return Frame(rng.integers(0, 256, (128, 128, 3), np.uint8), index, 0)


def flat(colour: tuple[int, int, int], index: int = 0) -> Frame:
    return Frame(np.full((64, 64, 3), colour, np.uint8), index, 0)


def write(sink: FileSink, frames: Iterable[Frame], *, then: BaseException | None = None) -> None:
    with sink:
        for frame in frames:
            sink.send(frame)
        if then is not None:
            raise then


def psnr(written: Image, read: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((written.astype(float) - read) ** 2)))


def test_video_shows_what_was_sent(clip: list[Frame], tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    height_px, width_px, _ = clip[0].image.shape
    write(VideoWriter(path, width_px=width_px, height_px=height_px, fps=FPS), clip)
    video = VideoFile(path)
    assert (video.width_px, video.height_px, video.fps, video.frame_count) == (width_px, height_px, FPS, len(clip))
    read = list(video)
    assert [frame.time_ns for frame in read] == [round(index * 1_000_000_000 / FPS) for index in range(len(clip))]
    for sent, got in zip(clip, read, strict=True):
        assert psnr(sent.image, got.image) > 38
        assert abs(got.image.mean((0, 1)) - sent.image.mean((0, 1))).max() < 0.5


@pytest.mark.parametrize("colour", PRIMARIES)
def test_video_keeps_colours(colour: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(VideoWriter(path, width_px=64, height_px=64, fps=Fraction(25)), [flat(colour)] * 3)
    for frame in VideoFile(path):
        assert abs(frame.image.astype(int) - colour).max() <= 2


def test_video_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(VideoWriter(path, width_px=64, height_px=64, fps=Fraction(30)), [flat((9, 9, 9))] * 3)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert container.metadata["comment"] == "Synthetic: made with Puppet"
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def sounding(path: Path, *, video: str, audio: str, seconds: int = 2, delay: int = 0) -> Path:
    """A file with a steady picture and a tone, which begins `delay` s before it, and softly until then."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(video, rate=25, options={})
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        tone = container.add_stream(audio, rate=48000, layout="stereo")
        for index in range(25 * seconds):
            picture = av.VideoFrame.from_ndarray(flat((90, 90, 90)).image, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = index + 25 * delay, Fraction(1, 25)
            container.mux(pictures.encode(picture))
        resampler = av.AudioResampler(tone.format, "stereo", 48000, tone.frame_size or 1024)
        samples = np.sin(np.arange(48000 * (seconds + delay)) * 0.05).astype(np.float32)
        samples[: 48000 * delay] *= 0.1
        whole = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        whole.sample_rate, whole.pts, whole.time_base = 48000, 0, Fraction(1, 48000)
        for frame in (*resampler.resample(whole), *resampler.resample(None)):
            container.mux(tone.encode(frame))
        container.mux(pictures.encode())
        container.mux(tone.encode())
    return path


@pytest.mark.parametrize(
    ("name", "video", "audio", "expected"),
    [
        ("driving.mp4", "libx264", "aac", "aac"),
        ("driving.ts", "libx264", "aac", "aac"),
        ("driving.avi", "mpeg4", "libmp3lame", "mp3"),
        ("driving.mkv", "libx264", "pcm_s16le", "aac"),
        ("driving.webm", "libvpx", "libopus", "aac"),
    ],
)
def test_video_carries_the_sound_and_ends_with_its_pictures(
    name: str, video: str, audio: str, expected: str, tmp_path: Path
) -> None:
    driving = sounding(tmp_path / name, video=video, audio=audio)
    path = tmp_path / "out.mp4"
    sink = VideoWriter(path, width_px=64, height_px=64, fps=Fraction(25), audio_from=driving)
    write(sink, [flat((9, 9, 9), index) for index in range(30)])
    with av.open(str(path)) as container:
        [stream] = container.streams.audio
        assert stream.codec.canonical_name == expected
        assert container.duration == pytest.approx(1_200_000, abs=50_000)
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
    assert len(sound) / 48000 == pytest.approx(1.2, abs=0.08)
    assert np.abs(sound[4800:]).max() > 0.5


def test_sound_counts_from_the_first_picture(tmp_path: Path) -> None:
    """A second of sound before the pictures is no part of the output."""
    driving = sounding(tmp_path / "driving.mkv", video="libx264", audio="pcm_s16le", delay=1)
    path = tmp_path / "out.mp4"
    sink = VideoWriter(path, width_px=64, height_px=64, fps=Fraction(25), audio_from=driving)
    write(sink, [flat((9, 9, 9), index) for index in range(25)])
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(sound) / 48000 == pytest.approx(1.0, abs=0.05)
    assert np.abs(sound[2400:4800]).max() > 0.5


@pytest.mark.parametrize(
    ("name", "video", "audio"), [("driving.ts", "libx264", "aac"), ("driving.webm", "libvpx", "libopus")]
)
def test_damaged_sound_does_not_spoil_the_video(
    name: str, video: str, audio: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driving = sounding(tmp_path / name, video=video, audio=audio)
    content = bytearray(driving.read_bytes())
    damage = np.random.default_rng(1).integers(len(content) // 3, len(content), 2000)
    for place in damage:
        content[place] ^= 0x55
    driving.write_bytes(content)
    path = tmp_path / "out.mp4"
    sink = VideoWriter(path, width_px=64, height_px=64, fps=Fraction(25), audio_from=driving)
    write(sink, [flat((9, 9, 9), index) for index in range(50)])
    assert VideoFile(path).frame_count == 50
    assert len(caplog.records) <= 1  # a decoder may conceal the damage


def test_driving_file_without_sound(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    write(VideoWriter(silent, width_px=64, height_px=64, fps=Fraction(25)), [flat((1, 2, 3))] * 5)
    path = tmp_path / "out.mp4"
    write(VideoWriter(path, width_px=64, height_px=64, fps=Fraction(25), audio_from=silent), [flat((1, 2, 3))] * 5)
    assert not VideoFile(path).has_audio
    assert VideoFile(path).frame_count == 5


def test_gif_shows_what_was_sent(clip: list[Frame], tmp_path: Path) -> None:
    path = tmp_path / "out.gif"
    small = [Frame(np.ascontiguousarray(frame.image[::3, ::3]), frame.index, 0) for frame in clip]
    height_px, width_px, _ = small[0].image.shape
    write(GifWriter(path, width_px=width_px, height_px=height_px, fps=FPS), small)
    with Pictures.open(path) as gif:
        assert (gif.size, gif.n_frames, gif.info["loop"]) == ((width_px, height_px), len(small), 0)
        total_ms = 0
        for index, sent in enumerate(small):
            gif.seek(index)
            total_ms += gif.info["duration"]
            assert psnr(sent.image, np.asarray(gif.convert("RGB"))) > 32
    assert total_ms == pytest.approx(1000 * len(small) / FPS, abs=20)
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "Synthetic: made with Puppet"
    assert list(tmp_path.iterdir()) == [path]


def test_gif_cannot_be_faster_than_players_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.gif"
    write(GifWriter(path, width_px=64, height_px=64, fps=Fraction(60)), [flat((i * 20, 0, 0), i) for i in range(6)])
    assert "50 frames per second" in caplog.text
    with Pictures.open(path) as gif:
        assert gif.n_frames == 6
        assert gif.info["duration"] == 20


def test_folder_holds_the_very_pictures(clip: list[Frame], tmp_path: Path) -> None:
    path = tmp_path / "frames"
    height_px, width_px, _ = clip[0].image.shape
    write(FrameFolder(path, width_px=width_px, height_px=height_px), clip[:3])
    assert sorted(entry.name for entry in path.iterdir()) == [f"frame_00000{index}.png" for index in range(3)]
    for index, sent in enumerate(clip[:3]):
        with Pictures.open(path / f"frame_00000{index}.png") as picture:
            assert picture.info["Comment"] == "Synthetic: made with Puppet"
            np.testing.assert_array_equal(np.asarray(picture), sent.image)


@pytest.mark.parametrize("channels", [3, 4])
def test_snapshot_is_the_newest_picture(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    pictures = [np.random.default_rng(seed).integers(0, 256, (48, 64, channels), np.uint8) for seed in range(2)]
    sink = PictureWriter(path, width_px=64, height_px=48, alpha=channels == 4)
    write(sink, [Frame(picture, index, 0) for index, picture in enumerate(pictures)])
    with Pictures.open(path) as picture:
        assert picture.info["Comment"] == "Synthetic: made with Puppet"
        np.testing.assert_array_equal(np.asarray(picture), pictures[1])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mp4", VideoWriter), ("A.MP4", VideoWriter), ("a.gif", GifWriter), ("frames", FrameFolder)]
)
def test_suffix_chooses_the_sink(name: str, kind: type[FileSink], tmp_path: Path) -> None:
    with open_sink(tmp_path / name, width_px=64, height_px=64, fps=Fraction(25)) as sink:
        assert type(sink) is kind
        sink.send(flat((1, 2, 3)))
    assert (tmp_path / name).exists()


OUTPUTS = ("out.mp4", "out.gif", "frames")


@pytest.fixture(params=OUTPUTS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], FileSink]:
    def open_in(folder: Path) -> FileSink:
        return open_sink(folder / request.param, width_px=128, height_px=128, fps=Fraction(25))

    return open_in


def test_error_leaves_nothing(opened: Callable[[Path], FileSink], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write(opened(tmp_path), [noise(0)], then=ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []


def test_no_frame_leaves_nothing(opened: Callable[[Path], FileSink], tmp_path: Path) -> None:
    write(opened(tmp_path), [])
    assert list(tmp_path.iterdir()) == []


def test_interruption_keeps_what_was_done(opened: Callable[[Path], FileSink], tmp_path: Path) -> None:
    sink = opened(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write(sink, map(noise, range(3)), then=KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == [sink.path]
    if sink.path.is_dir():
        assert len(list(sink.path.iterdir())) == 3
    else:
        assert len(list(VideoFile(sink.path))) == 3


def test_interruption_before_the_first_frame_leaves_nothing(opened: Callable[[Path], FileSink], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(opened(tmp_path), [], then=KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_waits_until_the_frame_is_written(tmp_path: Path) -> None:
    class Interrupted(VideoWriter):
        def _write(self, image: Image) -> None:
            signal.raise_signal(signal.SIGINT)
            super()._write(image)

    path = tmp_path / "out.mp4"
    sink = Interrupted(path, width_px=64, height_px=64, fps=Fraction(25))
    with pytest.raises(KeyboardInterrupt):
        write(sink, [flat((1, 2, 3))])
    assert sink.frame_count == 1
    assert len(list(VideoFile(path))) == 1


def test_closing_twice_and_discarding_after_closing_change_nothing(
    opened: Callable[[Path], FileSink], tmp_path: Path
) -> None:
    sink = opened(tmp_path)
    sink.send(noise(0))
    sink.close()
    sink.close()
    sink.discard()
    assert list(tmp_path.iterdir()) == [sink.path]
    with pytest.raises(SinkError, match="closed"):
        sink.send(noise(1))


@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
def test_old_file_stays_until_the_new_one_is_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"precious")
    with open_sink(path, width_px=64, height_px=64, fps=Fraction(25)) as sink:
        sink.send(flat((1, 2, 3)))
        sink.discard()
    assert path.read_bytes() == b"precious"
    with open_sink(path, width_px=64, height_px=64, fps=Fraction(25)) as sink:
        sink.send(flat((1, 2, 3)))
        assert path.read_bytes() == b"precious"
    assert len(list(VideoFile(path))) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_old_frames_are_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    write(FrameFolder(path, width_px=64, height_px=64), [flat((1, 1, 1))] * 3)
    sink = FrameFolder(path, width_px=64, height_px=64)
    sink.send(flat((2, 2, 2)))
    assert len(list(path.glob("*.png"))) == 3
    sink.close()
    assert [entry.name for entry in path.iterdir()] == ["frame_000000.png"]


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(SinkError, match="other files"):
        FrameFolder(tmp_path, width_px=64, height_px=64)
    assert [entry.name for entry in tmp_path.iterdir()] == ["diary.txt"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    def refusal(path: Path, *, width_px: int = 64) -> str:
        with pytest.raises(SinkError) as caught:
            open_sink(path, width_px=width_px, height_px=64, fps=Fraction(25))
        return str(caught.value)

    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.mp4").mkdir()
    assert "no folder" in refusal(tmp_path / "nowhere" / "out.mp4")
    assert "no folder" in refusal(tmp_path / "file" / "out.gif")
    assert "is a file" in refusal(tmp_path / "file")
    assert "is a folder" in refusal(tmp_path / "folder.mp4")
    assert ".mp4 or .gif" in refusal(tmp_path / "out.avi")
    assert "even size" in refusal(tmp_path / "out.mp4", width_px=63)
    assert "cannot be written: " in refusal(tmp_path / ("x" * 300 + ".mp4"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.mp4"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where nobody may write")
@pytest.mark.parametrize("name", OUTPUTS)
def test_folder_that_nobody_may_write_in(name: str) -> None:
    with pytest.raises(SinkError, match="cannot be written"):
        open_sink(Path("/proc/self") / name, width_px=64, height_px=64, fps=Fraction(25))


def test_picture_of_another_size_is_refused(opened: Callable[[Path], FileSink], tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="shape"):
        write(opened(tmp_path), [flat((1, 2, 3))])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB, where the one who runs the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("count", [40, 100])  # full at the end, where the encoder is emptied, and in the middle
def test_full_disk(opened: Callable[[Path], FileSink], small_disk: Path, count: int) -> None:
    with pytest.raises(SinkError, match="No space left"):
        write(opened(small_disk), map(noise, range(count)))
    assert list(small_disk.iterdir()) == []
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(small_disk) in os.path.realpath(link)]


def test_limit_on_a_files_size(opened: Callable[[Path], FileSink], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(SinkError, match="File too large"):
            write(opened(tmp_path), map(noise, range(60)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
