"""The portrait as it is painted, and over it the self-view in a corner and the banner at the top."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from puppet.settings import ViewSettings
from puppet.types import Frame, Image, Landmarks
from ui.banner import Banner
from ui.language import tr
from ui.preview import Preview
from ui.selfview import SelfView
from ui.session import Session
from ui.statusline import SHOWN

if TYPE_CHECKING:
    from puppet.library import Entry


class Stage(Preview):
    """Pulls what `session` paints; `newest` is what is on show."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.newest: Frame | None = None
        self.self_view = SelfView(self)
        self.banner = Banner(self)
        self._session = session
        self.setAccessibleName(tr("The portrait"))
        queued = Qt.ConnectionType.QueuedConnection
        session.inbox.arrived.connect(self._show_newest, queued)
        session.portrait_changed.connect(self._show_portrait)
        session.said.connect(self.banner.tell)
        session.state_changed.connect(self._show_stop)
        self._show_newest()  # a frame that came before was announced to nobody, and only taking it lets others be
        if session.entry is not None:
            self._show_portrait(session.entry)

    def show_settings(self, view: ViewSettings, *, self_view: bool) -> None:
        self.mirrored = view.mirror_preview
        self.self_view.show_settings(view)
        self.self_view.setVisible(self_view)
        self.update()

    def show_still(self, picture: Image) -> None:
        """What there is to see while nothing is painted."""
        self.newest = Frame(picture, 0, time.monotonic_ns())
        self.show_image(picture)

    def show_face(self, face: Landmarks | None) -> None:
        """What was found in the camera's newest picture."""
        source = self._session.source
        if source is not None and self.self_view.isVisible():
            self.self_view.show_face(source.newest, face)

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        super().resizeEvent(event)
        self.banner.place()
        self.self_view.place()

    def _show_newest(self) -> None:
        frame = self._session.inbox.take()
        if frame is None:
            return
        self.newest = frame
        self.show_image(frame.image)
        if self._session.live is not None:
            self._session.live.timings.add(SHOWN, time.monotonic_ns() - frame.time_ns)

    def _show_stop(self) -> None:
        if self._session.source is None:
            self.self_view.show_face(None, None)

    def _show_portrait(self, entry: Entry) -> None:
        embedding = self._session.embedding
        if embedding is None:
            return
        self.self_view.show_portrait(embedding.portrait.landmarks)
        if not self._session.is_running:
            self.show_still(embedding.portrait.image)
