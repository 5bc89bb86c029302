"""A video file as a camera, and what goes wrong with either."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from puppet.types import Closing, Frame, Image, PuppetError

logger = logging.getLogger(__name__)

# With its default flags swscale rounds down on the way to RGB, and pictures come out a grey level too dark.
ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
PLAUSIBLE_FPS = 240  # a file that claims more means its clock, not its pictures
USUAL_FPS = Fraction(25)


# What reading packets can raise; the IndexError when a damaged file shows a stream that it did not announce.
READ_ERRORS = (av.error.FFmpegError, IndexError)


class CameraError(PuppetError, OSError):
    """A camera or a video gives no pictures, or no more."""


class VideoUnreadable(CameraError, ValueError):
    """The file is missing, or there is no video in it that can be decoded."""


def open_file(path: Path) -> InputContainer:
    """Open a local media file; VideoUnreadable if it is none."""
    try:
        # The prefix and the whitelist keep a name like "http:…" and a playlist's links off the network.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except FileNotFoundError:
        raise VideoUnreadable(f"There is no file {path}.") from None
    except av.error.InvalidDataError:
        if path.stat().st_size == 0:
            raise VideoUnreadable(f"{path} is empty (0 bytes).") from None
        raise VideoUnreadable(
            f"{path} is not a video that can be read: it is of another kind, damaged or incomplete."
        ) from None
    except (av.error.FFmpegError, OSError) as error:
        raise VideoUnreadable(f"{path} cannot be read: {error.strerror}.") from error


class VideoFile(Closing):
    """A video as a camera: one Frame for each picture that decodes, upright; iterating starts at its beginning.

    Reads what FFmpeg reads: MP4, WebM, MKV, AVI, GIF … A file that breaks off, or is damaged in the middle, gives
    what can be decoded and a warning. `fps` is the average rate, `frame_count` the file's own estimate of its length.
    Pixels are taken for square. Nothing stays open between iterations. Raises VideoUnreadable.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._warned = False
        with open_file(self.path) as container:
            video = self._video(container)
            first = next(_pictures(container, video, []), None)
            if first is None:
                raise VideoUnreadable(f"{self.path} is a video, but none of its pictures can be decoded.")
            self._coded_size = first.width, first.height
            self.height_px, self.width_px = self._upright(first).shape[:2]
            rates = (video.average_rate, video.guessed_rate)
            self.fps: Fraction = next((rate for rate in rates if rate and 0 < rate <= PLAUSIBLE_FPS), USUAL_FPS)
            self.frame_count = video.frames or _estimated_count(container, video, self.fps)
            self.has_audio = bool(container.streams.audio)

    def __iter__(self) -> Iterator[Frame]:
        errors: list[str] = []
        index, time_ns, start_pts = 0, -1, None
        with open_file(self.path) as container:
            video = self._video(container)
            for picture in _pictures(container, video, errors):
                start_pts = picture.pts if start_pts is None else start_pts
                if picture.pts is None or start_pts is None or video.time_base is None:
                    shown_ns = round(index * 1_000_000_000 / self.fps)
                else:
                    shown_ns = round((picture.pts - start_pts) * video.time_base * 1_000_000_000)
                time_ns = max(shown_ns, time_ns + 1)  # trackers need time to rise, damaged files do not heed that
                yield Frame(self._upright(picture), index, time_ns)
                index += 1
        if (errors or index < 0.9 * (self.frame_count or 0)) and not self._warned:
            self._warned = True
            expected = f"about {self.frame_count}" if self.frame_count else "an unknown number of"
            logger.warning("%s is damaged or incomplete: %d of %s pictures were read.", self.path, index, expected)

    def close(self) -> None:
        """Nothing stays open; this makes it a camera like others."""

    def _video(self, container: InputContainer) -> VideoStream:
        """The first video stream that is neither a song's cover nor text that FFmpeg would draw."""
        for video in container.streams.video:
            decodable = video.codec_context is not None and video.codec_context.name != "ansi"
            if decodable and not video.disposition & Disposition.attached_pic:
                video.thread_type = "AUTO"
                return video
        found = "only sound" if container.streams.audio else "no pictures"
        raise VideoUnreadable(f"{self.path} holds {found}; a video is needed.")

    def _upright(self, picture: VideoFrame) -> Image:
        width_px, height_px = self._coded_size  # a stream may change its size on the way; a camera may not
        rgb = picture.reformat(width_px, height_px, "rgb24", interpolation=ACCURATE).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, picture.rotation // 90), np.uint8)


def _pictures(container: InputContainer, video: VideoStream, errors: list[str]) -> Iterator[VideoFrame]:
    """Every picture that decodes; what does not is noted in `errors`, what cannot be read further is the end."""
    packets = container.demux(video)
    while True:
        try:
            packet = next(packets, None)
        except READ_ERRORS as error:
            errors.append(str(error))
            return
        if packet is None:
            return
        try:
            pictures = packet.decode()
        except av.error.FFmpegError as error:
            errors.append(str(error))
            continue
        yield from pictures


def _estimated_count(container: InputContainer, video: VideoStream, fps: Fraction) -> int | None:
    if video.duration is not None and video.time_base is not None:
        return round(video.duration * video.time_base * fps)
    return None if container.duration is None else round(Fraction(container.duration, av.time_base) * fps)
