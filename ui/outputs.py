"""What leaves the window: the virtual camera, the page for OBS, recordings, snapshots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QStandardPaths, Signal
from PySide6.QtGui import QGuiApplication

from puppet.types import Frame, Sink
from ui.bridge import Background
from ui.broadcast import Broadcast, Turned, letting_go, sentence, turned
from ui.language import told, tr
from ui.session import Session

if TYPE_CHECKING:
    from puppet.pipeline import MotionSink
    from puppet.recorder import MotionRecorder, Recorder
    from puppet.stream import StreamServer
    from puppet.virtual_camera import VirtualCamera

FORMATS = ("mp4", "gif", "motion")
RECORDED_FPS = 30
FINISHING_S = 60.0  # a long GIF takes its time, and would be lost


class Outputs(QObject):
    """Belongs to the GUI thread; each output is opened and closed in the background, and fails alone."""

    changed = Signal()
    said = Signal(str, str)  # what the user should know, and "information", "warning" or "error"

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.record_wanted = False
        self.camera: Broadcast[VirtualCamera] = Broadcast(
            session,
            lambda: _open_camera(),
            begun=lambda camera: tr("Other programs now see the portrait as the camera “{name}”.").format(
                name=camera.status.device
            ),
            ended=lambda error: tr("The virtual camera ended: {error}").format(error=told(error)),
            parent=self,
        )
        self.stream: Broadcast[StreamServer] = Broadcast(
            session,
            lambda: _open_stream(session.settings.stream.port),
            begun=self._stream_begun,
            ended=lambda error: tr("The stream ended: {error}").format(error=told(error)),
            parent=self,
        )
        for broadcast in (self.camera, self.stream):
            broadcast.changed.connect(self.changed)
            broadcast.said.connect(self.said)
        self._session = session
        self._record_worker, self._snapshot_worker = Background(self), Background(self)
        self._camera_trouble = ""
        self._recording: Path | None = None
        self._recorder: Recorder | MotionRecorder | None = None
        self._record_sink: Sink | MotionSink | None = None  # the same, as it was given to the session

    @property
    def address(self) -> str:
        """Of the page with the portrait; empty while there is none."""
        return self.stream.sink.url if self.stream.sink is not None else ""

    def copy_address(self) -> None:
        if self.address:
            QGuiApplication.clipboard().setText(self.address)
            self.said.emit(tr("The address is copied: {address}").format(address=self.address), "information")

    def record(self, kind: str) -> None:
        """Begin a file of one of FORMATS; `stop_recording` finishes it."""
        if self.record_wanted:
            return
        embedding = self._session.embedding
        if embedding is None or self._session.live is None:
            self.said.emit(tr("Start the portrait first: there is nothing to record yet."), "information")
            self.changed.emit()
            return
        self.record_wanted = True
        self._recording = _path(self._session.settings.window.recordings, "MoviesLocation", kind)
        path, (height_px, width_px) = self._recording, embedding.portrait.image.shape[:2]
        alpha = self._session.settings.background.kind == "transparent" and kind == "gif"

        def op() -> Recorder | MotionRecorder:
            from puppet.recorder import MotionRecorder, Recorder

            _make(path.parent)
            if kind == "motion":
                return MotionRecorder(path, fps=Fraction(RECORDED_FPS))
            return Recorder(path, width_px=width_px, height_px=height_px, fps=Fraction(RECORDED_FPS), alpha=alpha)

        self._record_worker.run(op, self._record_opened, self._record_failed)
        self.changed.emit()

    def stop_recording(self) -> None:
        path = self._recording
        if self._record_sink is None or path is None:  # it is just being opened
            self._forget_recording()
            return
        self.said.emit(tr("Finishing {name} …").format(name=path.name), "information")

        def done() -> None:
            if path.exists():
                self.said.emit(tr("Saved as {path}").format(path=path), "information")
            else:
                self.said.emit(tr("There was nothing to record, so that nothing was saved."), "warning")

        self._end_recording(done)

    def snapshot(self, frame: Frame) -> None:
        """Save one picture."""
        path = _path(self._session.settings.window.recordings, "PicturesLocation", "png")
        picture = turned(frame, mirrored=self._session.settings.view.mirror_output)

        def op() -> Path:
            from puppet.sinks import PictureWriter

            _make(path.parent)
            height_px, width_px, channels = picture.image.shape
            with PictureWriter(path, width_px=width_px, height_px=height_px, alpha=channels == 4) as sink:
                sink.send(picture)
            return path

        def done(path: Path) -> None:
            self.said.emit(tr("Saved as {path}").format(path=path), "information")

        self._snapshot_worker.run(op, done, lambda error: self.said.emit(sentence(error), "error"))

    def summary(self) -> str:
        """What leaves the window now, in a few words."""
        parts = []
        if self.camera.sink is not None:
            status = self.camera.sink.status
            parts.append(tr("camera “{name}” {fps} fps").format(name=status.device, fps=f"{status.fps:.0f}"))
        if self.stream.sink is not None:
            parts.append(tr("stream, viewers: {count}").format(count=self.stream.sink.viewers))
        if self._recorder is not None:
            seconds = self._recorder.frame_count // RECORDED_FPS
            parts.append(tr("recording {time}").format(time=f"{seconds // 60}:{seconds % 60:02}"))
        return " · ".join(parts)

    def check(self) -> None:
        """Say what went wrong since the last time; to be called now and then."""
        self.camera.check()
        self.stream.check()
        error = self._session.failure_of(self._record_sink)
        if error is not None:
            self._end_recording(lambda: None)
            self.said.emit(tr("The recording ended: {error}").format(error=told(error)), "error")
        trouble = self.camera.sink.status.error if self.camera.sink is not None else ""
        if trouble != self._camera_trouble:
            self._camera_trouble = trouble
            self.said.emit(told(trouble), "warning" if trouble else "information")

    def close(self) -> None:
        """Finish the recording and let go of everything."""
        if self.record_wanted:
            self.stop_recording()
        self.camera.show(False)
        self.stream.show(False)
        self._record_worker.close(timeout_s=FINISHING_S)
        self._snapshot_worker.close()
        self.camera.close()
        self.stream.close()

    def _stream_begun(self, server: StreamServer) -> str:
        QGuiApplication.clipboard().setText(server.url)
        return tr("OBS, or a browser here, can show {address}; the address is copied.").format(address=server.url)

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
        self._forget_recording()
        self.said.emit(sentence(error), "error")

    def _end_recording(self, done: Callable[[], None]) -> None:
        if self._record_sink is not None:
            finish = letting_go(self._session, self._record_sink)
            self._record_worker.run(finish, lambda _: done(), self._record_failed)
        self._forget_recording()

    def _forget_recording(self) -> None:
        self.record_wanted = False
        self._recorder = self._record_sink = self._recording = None
        self.changed.emit()


def _open_camera() -> VirtualCamera:
    from puppet.virtual_camera import VirtualCamera

    return VirtualCamera()


def _open_stream(port: int) -> StreamServer:
    from puppet.settings import config_dir
    from puppet.stream import StreamServer, kept_token

    return StreamServer(port=port, token=kept_token(config_dir()))


def _make(folder: Path) -> None:
    """Raises SinkError."""
    from puppet.output import SinkError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            tr("Nothing can be saved in {folder} ({reason}); choose another folder.").format(
                folder=folder, reason=error.strerror
            )
        ) from error


def _path(folder: str, place: str, suffix: str) -> Path:
    """A new name in `folder`, or in the system's folder for such things."""
    location = QStandardPaths.StandardLocation[place]
    parent = Path(folder) if folder else Path(QStandardPaths.writableLocation(location)) / "Puppet"
    return parent / f"puppet-{datetime.now():%Y-%m-%d-%H%M%S}.{suffix}"
