"""What leaves the window: the virtual camera, recordings, snapshots; each opened and closed in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QStandardPaths, Signal

from puppet.types import Closing, Frame, PuppetError, Sink
from ui.bridge import Background
from ui.language import tr
from ui.session import Session

if TYPE_CHECKING:
    from puppet.pipeline import MotionSink
    from puppet.recorder import MotionRecorder, Recorder
    from puppet.virtual_camera import VirtualCamera

logger = logging.getLogger(__name__)

FORMATS = ("mp4", "gif", "motion")
RECORDED_FPS = 30
FINISHING_S = 60.0  # a long GIF takes its time, and would be lost


class Turned(Closing):
    """A Sink before another, which mirrors the pictures while the settings of `session` say so."""

    def __init__(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._sink = sink

    def send(self, frame: Frame) -> None:
        self._sink.send(_turned(frame, mirrored=self._session.settings.view.mirror_output))

    def close(self) -> None:
        self._sink.close()


class Outputs(QObject):
    """Belongs to the GUI thread."""

    changed = Signal()
    said = Signal(str, str)  # what the user should know, and "information", "warning" or "error"

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._camera_worker, self._record_worker, self._snapshot_worker = (Background(self) for _ in range(3))
        self._camera: VirtualCamera | None = None
        self._camera_sink: Sink | None = None
        self._camera_opening = False
        self._camera_trouble = ""
        self._recording: Path | None = None
        self._recorder: Recorder | MotionRecorder | None = None
        self._record_sink: Sink | MotionSink | None = None  # the same, as it was given to the session
        self.camera_wanted = False
        self.record_wanted = False

    @property
    def camera_device(self) -> str:
        """As other programs call the virtual camera; empty while there is none."""
        return self._camera.status.device if self._camera is not None else ""

    def show_camera(self, wanted: bool) -> None:
        """Open the virtual camera, or close it."""
        if wanted == self.camera_wanted:
            return
        self.camera_wanted = wanted
        if wanted and not self._camera_opening:
            self._camera_opening = True
            self._camera_worker.run(_open_camera, self._camera_opened, self._camera_failed)
        elif not wanted and self._camera_sink is not None:
            self._end(self._camera_worker, self._camera_sink, lambda _: None, self._camera_failed)
            self._camera = self._camera_sink = None
        self.changed.emit()

    def record(self, kind: str) -> None:
        """Begin a file of one of FORMATS; `stop_recording` finishes it."""
        embedding = self._session.embedding
        if self.record_wanted or embedding is None or self._session.live is None:
            self.said.emit(tr("Start the portrait first: there is nothing to record yet."), "information")
            self.changed.emit()
            return
        self.record_wanted = True
        self._recording = _path(self._session.settings.window.recordings, "MoviesLocation", kind)
        path, (height_px, width_px) = self._recording, embedding.portrait.image.shape[:2]
        alpha = self._session.settings.background.kind == "transparent" and kind == "gif"

        def op() -> Recorder | MotionRecorder:
            from puppet.recorder import MotionRecorder, Recorder

            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "motion":
                return MotionRecorder(path, fps=Fraction(RECORDED_FPS))
            return Recorder(path, width_px=width_px, height_px=height_px, fps=Fraction(RECORDED_FPS), alpha=alpha)

        self._record_worker.run(op, self._record_opened, self._record_failed)
        self.changed.emit()

    def stop_recording(self) -> None:
        sink, path = self._record_sink, self._recording
        self.record_wanted = False
        self._recorder = self._record_sink = self._recording = None
        if sink is not None and path is not None:
            self.said.emit(tr("Finishing {name} …").format(name=path.name), "information")
            saved = tr("Saved as {path}").format(path=path)
            self._end(self._record_worker, sink, lambda _: self.said.emit(saved, "information"), self._record_failed)
        self.changed.emit()

    def snapshot(self, frame: Frame) -> None:
        """Save one picture."""
        path = _path(self._session.settings.window.recordings, "PicturesLocation", "png")
        picture = _turned(frame, mirrored=self._session.settings.view.mirror_output)

        def op() -> Path:
            from puppet.sinks import PictureWriter

            path.parent.mkdir(parents=True, exist_ok=True)
            height_px, width_px, channels = picture.image.shape
            with PictureWriter(path, width_px=width_px, height_px=height_px, alpha=channels == 4) as sink:
                sink.send(picture)
            return path

        def done(path: Path) -> None:
            self.said.emit(tr("Saved as {path}").format(path=path), "information")

        self._snapshot_worker.run(op, done, self._tell)

    def summary(self) -> str:
        """What leaves the window now, in a few words."""
        parts = []
        if self._camera is not None:
            status = self._camera.status
            parts.append(tr("camera “{name}” {fps} fps").format(name=status.device, fps=f"{status.fps:.0f}"))
        if self._recorder is not None:
            seconds = self._recorder.frame_count // RECORDED_FPS
            parts.append(tr("recording {time}").format(time=f"{seconds // 60}:{seconds % 60:02}"))
        return " · ".join(parts)

    def check(self) -> None:
        """Say what went wrong since the last time; to be called now and then."""
        live = self._session.live
        failed = {id(sink): error for sink, error in live.failed_sinks} if live is not None else {}
        if self._record_sink is not None and id(self._record_sink) in failed:
            error = failed[id(self._record_sink)]
            self.stop_recording()
            self.said.emit(tr("The recording ended: {error}").format(error=error), "error")
        if self._camera_sink is not None and id(self._camera_sink) in failed:
            error = failed[id(self._camera_sink)]
            self.show_camera(False)
            self.said.emit(tr("The virtual camera ended: {error}").format(error=error), "error")
        trouble = self._camera.status.error if self._camera is not None else ""
        if trouble != self._camera_trouble:
            self._camera_trouble = trouble
            self.said.emit(trouble, "warning" if trouble else "information")

    def close(self) -> None:
        """Finish the recording and let go of the camera."""
        if self.record_wanted:
            self.stop_recording()
        self.show_camera(False)
        self._record_worker.close(timeout_s=FINISHING_S)
        self._snapshot_worker.close()
        self._camera_worker.close()

    def _camera_opened(self, camera: VirtualCamera) -> None:
        self._camera_opening = False
        if not self.camera_wanted:  # any more
            self._camera_worker.run(camera.close, lambda _: None, self._camera_failed)
            return
        self._camera, self._camera_sink = camera, Turned(self._session, camera)
        self._session.add_sink(self._camera_sink)
        self.said.emit(
            tr("Other programs now see the portrait as the camera “{name}”.").format(name=self.camera_device),
            "information",
        )
        self.changed.emit()

    def _camera_failed(self, error: Exception) -> None:
        self.camera_wanted = self._camera_opening = False
        self._tell(error)

    def _record_opened(self, recorder: Recorder | MotionRecorder) -> None:
        from puppet.recorder import Recorder

        if not self.record_wanted:  # any more
            recorder.discard()
            return
        self._recorder = recorder
        if isinstance(recorder, Recorder):
            self._record_sink = turned = Turned(self._session, recorder)
            self._session.add_sink(turned)
        else:
            self._record_sink = recorder
            self._session.add_motion_sink(recorder)
        self.changed.emit()

    def _record_failed(self, error: Exception) -> None:
        self.record_wanted = False
        self._recorder = self._record_sink = self._recording = None
        self._tell(error)

    def _end(
        self,
        worker: Background,
        sink: Sink | MotionSink,
        done: Callable[[object], None],
        failed: Callable[[Exception], None],
    ) -> None:
        free = self._session.remove_sink(sink)

        def op() -> None:
            free()
            sink.close()

        worker.run(op, done, failed)

    def _tell(self, error: Exception) -> None:
        logger.debug("An output failed.", exc_info=error)
        self.said.emit(str(error) if isinstance(error, PuppetError) else repr(error), "error")
        self.changed.emit()


def _open_camera() -> VirtualCamera:
    from puppet.virtual_camera import VirtualCamera

    return VirtualCamera()


def _turned(frame: Frame, *, mirrored: bool) -> Frame:
    if not mirrored:
        return frame
    return Frame(np.ascontiguousarray(frame.image[:, ::-1]), frame.index, frame.time_ns)


def _path(folder: str, place: str, suffix: str) -> Path:
    """A new name in `folder`, or in the system's folder for such things."""
    location = QStandardPaths.StandardLocation[place]
    parent = Path(folder) if folder else Path(QStandardPaths.writableLocation(location)) / "Puppet"
    return parent / f"puppet-{datetime.now():%Y-%m-%d-%H%M%S}.{suffix}"
