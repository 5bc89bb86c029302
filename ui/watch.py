"""Looks now and then at the camera, the light and the show, and has the banner say what lasts."""

from __future__ import annotations

from puppet.types import PuppetError
from ui.banner import Banner
from ui.language import told, tr
from ui.session import Session

PATIENCE = 3  # looks in a row that must see the same
DARK = 45.0  # of 255, mean of the picture; below it, landmarks begin to tremble
SLOW_FPS = 20.0


class Watch:
    """`look` is to be called some times a second, in the GUI thread."""

    def __init__(self, session: Session, banner: Banner) -> None:
        self._session = session
        self._banner = banner
        self._seen: dict[str, int] = {}

    def look(self) -> None:
        source, live = self._session.source, self._session.live
        lost = source is not None and bool(source.trouble)
        silent = source is not None and not lost and source.is_silent
        well = source is not None and not lost and not silent
        light = source.light if well and source is not None else None
        fps = source.fps if well and source is not None and self._session.camera else None
        looked = source is not None and source.newest is not None and live is not None and not live.loading
        unseen = well and looked and live is not None and not live.face_in_sight
        dark = light is not None and light < DARK
        self._say("lost", lost, tr("The camera is gone. The portrait idles, and follows you again when it is back."))
        self._say("silent", silent, tr("The camera gives no picture at the moment …"))
        self._say("slow", fps is not None and fps < SLOW_FPS, tr(
            "The camera gives only {fps} pictures a second; more light often helps, or another camera.").format(
                fps=f"{fps or 0:.0f}"))  # fmt: skip
        self._say("dark", dark, tr("It is rather dark; with more light on your face the portrait follows better."))
        self._say("unseen", unseen and not dark, tr(
            "Nobody is seen, so the portrait idles. Sit in front of the camera, with some light."))  # fmt: skip
        ended = live is not None and not live.running
        self._say("ended", ended, self._end(live.error if live is not None else None), kind="error", patience=1)

    def _say(self, subject: str, so: bool, text: str, *, kind: str = "warning", patience: int = PATIENCE) -> None:
        self._seen[subject] = self._seen.get(subject, 0) + 1 if so else 0
        self._banner.stand(subject, text if self._seen[subject] >= patience else "", kind)

    def _end(self, error: BaseException | None) -> str:
        if isinstance(error, PuppetError):
            return told(error)
        if error is None:
            return tr("The show has ended; start it again.")
        return tr("An unexpected error ended the show ({error}); start it again.").format(error=repr(error))
