"""Where painted frames are kept: a video, a GIF, a folder of pictures, or a single one."""

from __future__ import annotations

import logging
import os
import re
import shutil
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import av.filter
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from PIL import Image as Pictures
from PIL.PngImagePlugin import PngInfo

from puppet.output import FileSink, SinkError
from puppet.soundtrack import Soundtrack
from puppet.types import Image

__all__ = ["FileSink", "FrameFolder", "GifWriter", "PictureWriter", "SinkError", "VideoWriter", "open_sink"]

logger = logging.getLogger(__name__)

COMMENT = "Synthetic: made with Puppet"
FRAME_NAME = "frame_{:06d}.png"
FRAME_PATTERN = re.compile(r"frame_\d{6,}\.png")
GIF_FASTEST_FPS = 50  # players slow down what asks for less than 2/100 s a picture
GIF_PALETTE_PICTURES = 32  # spread evenly over the whole; more of one portrait add no colours
GIF_TRAILER = b";"
PNG_COMPRESSION = 2  # of 9: as fast as 1; the default, 6, takes four times as long for a tenth less

# Full chroma input and exact rounding, without which swscale shifts colours.
ACCURATE = (
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.FULL_CHR_H_INT
)


class VideoWriter(FileSink):
    """An MP4 that plays everywhere: H.264, 4:2:0, BT.709 in limited range, its index at the front.

    Every frame lasts 1/fps, whatever its `time_ns`. The size must be even. The sound of the file `audio_from` comes
    along, if it has any, and ends with the video.
    """

    def __init__(
        self, path: Path | str, *, width_px: int, height_px: int, fps: Fraction, audio_from: Path | None = None
    ) -> None:
        if width_px % 2 or height_px % 2:
            raise SinkError(f"{path} cannot be written: MP4 needs an even size, not {width_px}x{height_px}.")
        self._fps = fps
        self._audio_from = audio_from
        super().__init__(path, width_px=width_px, height_px=height_px)

    def _begin(self) -> None:
        try:
            self._start(self._audio_from)
        except av.error.FFmpegError as error:
            if self._audio_from is None:
                raise
            self._resources.close()
            self._start(None)
            logger.warning("The sound of %s cannot be carried over (%s) and is left out.", self._audio_from, error)

    def _start(self, audio_from: Path | None) -> None:
        self._container = self._resources.enter_context(
            av.open(f"file:{self._temporary}", "w", format="mp4", options={"movflags": "+faststart"})
        )
        self._container.metadata["comment"] = COMMENT
        self._video = _add_video(
            self._container, "libx264", self._shape, self._fps, "yuv420p", {"preset": "veryfast", "crf": "18"}
        )
        context = self._video.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._sound: Soundtrack | None = None
        if audio_from is not None:
            self._sound = self._resources.enter_context(Soundtrack(audio_from, self._container))
        self._container.start_encoding()

    def _write(self, image: Image) -> None:
        picture = VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=ACCURATE,
        )
        self._container.mux(self._video.encode(picture))
        if self._sound is not None:
            self._sound.write_until((self.frame_count + 1) / self._fps)

    def _finish(self) -> None:
        self._container.mux(self._video.encode())
        if self._sound is not None:
            self._sound.finish()


class GifWriter(FileSink):
    """An endless GIF with one palette, fitted to all of its pictures.

    The palette comes last, so until then the pictures wait, losslessly, in a video file of their own. A GIF counts
    time in 1/100 s: at 30 fps pictures last 3, 3 and 4 of them in turn. Above 50 fps it plays slower than it should.
    With alpha, what is less than half opaque is transparent.
    """

    def __init__(self, path: Path | str, *, width_px: int, height_px: int, fps: Fraction, alpha: bool = False) -> None:
        self._fps = min(fps, Fraction(GIF_FASTEST_FPS))
        self._pix_fmt = "rgba" if alpha else "rgb24"
        super().__init__(path, width_px=width_px, height_px=height_px, alpha=alpha)
        if fps > GIF_FASTEST_FPS:
            logger.warning("%s plays at %d frames per second: a GIF cannot do %g.", path, GIF_FASTEST_FPS, fps)

    @property
    def _waiting(self) -> Path:
        return self._temporary.with_suffix(".mkv")

    def _begin(self) -> None:
        self._container = self._resources.enter_context(av.open(f"file:{self._waiting}", "w", format="matroska"))
        if self._pix_fmt == "rgb24":
            codec, pix_fmt, options = "libx264rgb", "rgb24", {"preset": "ultrafast", "qp": "0"}
        else:
            codec, pix_fmt, options = "ffv1", "bgra", {"level": "3", "slices": "4"}
        self._video = _add_video(self._container, codec, self._shape, self._fps, pix_fmt, options)
        self._container.start_encoding()

    def _write(self, image: Image) -> None:
        self._container.mux(self._video.encode(VideoFrame.from_ndarray(image, format=self._pix_fmt)))

    def _finish(self) -> None:
        self._container.mux(self._video.encode())
        self._resources.close()
        with av.open(f"file:{self._waiting}") as waiting:
            palette = self._palette(waiting)
        with av.open(f"file:{self._waiting}") as waiting, av.open(f"file:{self._temporary}", "w", format="gif") as gif:
            self._paint(waiting, palette, gif)
        self._waiting.unlink()
        with self._temporary.open("r+b") as file:
            file.seek(-len(GIF_TRAILER), os.SEEK_END)
            file.write(b"\x21\xfe%c%s\0" % (len(COMMENT), COMMENT.encode()) + GIF_TRAILER)

    def _palette(self, waiting: InputContainer) -> VideoFrame:
        video = waiting.streams.video[0]
        graph = av.filter.Graph()
        graph.link_nodes(graph.add_buffer(video), graph.add("palettegen"), graph.add("buffersink")).configure()
        step = -(-self.frame_count // GIF_PALETTE_PICTURES)
        for index, picture in enumerate(waiting.decode(video)):
            if index % step == 0:
                graph.vpush(picture)
        graph.vpush(None)
        return graph.vpull()

    def _paint(self, waiting: InputContainer, palette: VideoFrame, container: OutputContainer) -> None:
        video = waiting.streams.video[0]
        gif = _add_video(container, "gif", self._shape, self._fps, "pal8", {})
        graph = av.filter.Graph()
        paletteuse = graph.add("paletteuse", "diff_mode=rectangle")  # what stands still is not dithered anew
        graph.add_buffer(video).link_to(paletteuse, 0, 0)
        graph.add_buffer(None, palette.width, palette.height, palette.format, time_base=video.time_base).link_to(
            paletteuse, 0, 1
        )
        paletteuse.link_to(graph.add("buffersink"))
        graph.configure()
        graph.vpush(palette, 1)
        graph.vpush(None, 1)
        index = 0
        for picture in chain(waiting.decode(video), [None]):
            graph.vpush(picture, 0)
            with suppress(av.error.BlockingIOError, av.error.EOFError):  # nothing more to pull yet, or ever
                while True:
                    painted = graph.vpull()
                    painted.pts, painted.time_base = index, 1 / self._fps
                    container.mux(gif.encode(painted))
                    index += 1
        container.mux(gif.encode())

    def _remove(self) -> None:
        self._waiting.unlink(missing_ok=True)
        super()._remove()


class FrameFolder(FileSink):
    """A folder of PNG files: frame_000000.png and so on. It is made, or must hold nothing but such files."""

    def _problem(self) -> str | None:
        if not self._target.is_dir():
            return "it is a file; name a folder" if self._target.exists() else super()._problem()
        if all(FRAME_PATTERN.fullmatch(entry.name) for entry in self._target.iterdir()):
            return None
        return "the folder holds other files, which would be mixed with the frames; name a new or an empty one"

    def _begin(self) -> None:
        if self._target.is_dir():
            self._temporary = self._target / self._temporary.name  # may be another disk than the folder around it
        self._temporary.mkdir()

    def _write(self, image: Image) -> None:
        _save_png(image, self._temporary / FRAME_NAME.format(self.frame_count))

    def _finish(self) -> None:
        """Every picture is complete as soon as it is written."""

    def _publish(self) -> None:
        if self._temporary.parent != self._target:
            super()._publish()
            return
        for old in self._target.glob("*.png"):
            old.unlink()
        for new in self._temporary.iterdir():
            os.replace(new, self._target / new.name)
        self._temporary.rmdir()

    def _remove(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


class PictureWriter(FileSink):
    """A snapshot: one PNG file, of the newest frame that was sent."""

    def _begin(self) -> None:
        """The file comes with the first frame."""

    def _write(self, image: Image) -> None:
        _save_png(image, self._temporary)

    def _finish(self) -> None:
        """Every picture is complete as soon as it is written."""


def open_sink(
    path: Path | str,
    *,
    width_px: int,
    height_px: int,
    fps: Fraction,
    alpha: bool = False,
    audio_from: Path | None = None,
) -> FileSink:
    """The sink that the suffix of `path` asks for: .mp4, .gif, or none for a folder of pictures.

    alpha: the frames are RGBA, which an MP4 cannot hold.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".mp4":
        if alpha:
            raise SinkError(
                f"{path} cannot be written: an MP4 cannot be transparent; name a .gif or a folder, "
                "or choose another background."
            )
        return VideoWriter(path, width_px=width_px, height_px=height_px, fps=fps, audio_from=audio_from)
    if suffix == ".gif":
        return GifWriter(path, width_px=width_px, height_px=height_px, fps=fps, alpha=alpha)
    if suffix == "" or Path(path).is_dir():
        return FrameFolder(path, width_px=width_px, height_px=height_px, alpha=alpha)
    raise SinkError(f"{path} cannot be written: name a file that ends in .mp4 or .gif, or a folder, without a suffix.")


def _add_video(
    container: OutputContainer, codec: str, shape: tuple[int, ...], fps: Fraction, pix_fmt: str, options: dict[str, str]
) -> VideoStream:
    video = container.add_stream(codec, rate=fps, options=options)
    assert isinstance(video, VideoStream)
    video.height, video.width = shape[:2]
    video.pix_fmt = pix_fmt
    return video


def _save_png(image: Image, path: Path) -> None:
    comment = PngInfo()
    comment.add_text("Comment", COMMENT)
    Pictures.fromarray(image).save(path, "PNG", pnginfo=comment, compress_level=PNG_COMPRESSION)
