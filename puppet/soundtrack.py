"""Carries the sound of one file into a video that is being written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from puppet.types import Closing
from puppet.video import READ_ERRORS, open_file

logger = logging.getLogger(__name__)

COPIED_CODECS = ("aac", "mp3")  # MP4 can hold more, but these are what every player decodes
AAC_FRAME_SAMPLES = 1024
AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Soundtrack(Closing):
    """The first audio stream of the file `path` as a stream of `output`; without one in the file, nothing.

    Copied if it is AAC or MP3, else encoded as AAC. Time counts from the file's first picture, as the output's does.
    To be made before the header of `output` is written; `write_until` then follows the video, and what lies after
    the video's end never gets in. Sound that cannot be decoded is left out, with a warning.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._path = path
        self._output = output
        self._input = open_file(path)
        self._start_s = max((_start_s(video) for video in self._input.streams.video[:1]), default=Fraction(0))
        self._encoder: AudioStream | None = None
        self._last_dts: int | None = None
        self._warned = False
        self._units: Iterator[Packet[AudioStream] | AudioFrame] = iter(())
        decodable = [stream for stream in self._input.streams.audio if stream.codec_context is not None]
        for source in decodable[:1]:
            if source.codec.canonical_name in COPIED_CODECS:
                self._units = self._copied(source, output.add_stream_from_template(source))
            else:
                rate_hz = source.rate if source.rate in AAC_RATES_HZ else AAC_RATES_HZ[-1]
                layout = "mono" if source.channels == 1 else "stereo"
                self._encoder = output.add_stream("aac", rate=rate_hz, layout=layout)
                self._units = self._resampled(source, AudioResampler("fltp", layout, rate_hz, AAC_FRAME_SAMPLES))
        self._next = next(self._units, None)

    def write_until(self, end_s: Fraction) -> None:
        """Write what is over by `end_s`, seconds of the output, and is not written yet."""
        while self._next is not None and _end_s(self._next) <= end_s:
            if isinstance(self._next, AudioFrame):
                self._encode(self._next)
            else:
                self._mux([self._next])
            self._next = next(self._units, None)

    def finish(self) -> None:
        """Write what the encoder holds back."""
        self._encode(None)

    def close(self) -> None:
        self._input.close()

    def _encode(self, frame: AudioFrame | None) -> None:
        if self._encoder is not None:
            self._mux(self._encoder.encode(frame))

    def _mux(self, packets: Iterable[Packet[AudioStream]]) -> None:
        for packet in packets:
            if packet.dts is not None and (self._last_dts is None or packet.dts > self._last_dts):
                self._last_dts = packet.dts  # a muxer accepts no step back; damaged files contain some
                try:
                    self._output.mux(packet)
                except av.error.InvalidDataError as error:
                    self._warn(error)

    def _copied(self, source: AudioStream, target: AudioStream) -> Iterator[Packet[AudioStream]]:
        for packet in self._packets(source):
            if packet.pts is not None and packet.dts is not None:
                shift = round(self._start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = target
                if _end_s(packet) >= 0:
                    yield packet

    def _resampled(self, source: AudioStream, resampler: AudioResampler) -> Iterator[AudioFrame]:
        for packet in self._packets(source):
            try:
                frames = [part for frame in packet.decode() for part in resampler.resample(frame)]
            except (av.error.FFmpegError, ValueError) as error:  # ValueError: the sound changes its format midway
                self._warn(error)
                continue
            for frame in frames:
                if frame.pts is not None and frame.time_base is not None:
                    frame.pts -= round(self._start_s / frame.time_base)
                    if _end_s(frame) >= 0:
                        yield frame

    def _packets(self, source: AudioStream) -> Iterator[Packet[AudioStream]]:
        try:
            yield from self._input.demux(source)
        except READ_ERRORS as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("Some of the sound of %s cannot be read (%s) and is left out.", self._path, error)


def _start_s(stream: VideoStream) -> Fraction:
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return stream.start_time * stream.time_base


def _end_s(unit: Packet[AudioStream] | AudioFrame) -> Fraction:
    duration = (
        Fraction(unit.samples, unit.sample_rate)
        if isinstance(unit, AudioFrame)
        else (unit.duration or 0) * unit.time_base
    )
    return (unit.pts or 0) * (unit.time_base or 0) + duration
