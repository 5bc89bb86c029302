"""Starts Qt, shows the window, and hands back whatever went wrong in it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType

import cv2  # noqa: F401 - before Qt: it points Qt at plug-ins and fonts of its own, which `run` undoes
from PySide6.QtCore import QMessageLogContext, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

from puppet import settings as stored
from puppet.library import Entry, Library
from puppet.settings import Settings, SettingsError
from puppet.types import Engine, PuppetError
from ui import language, theme
from ui.backstage import Tuning
from ui.card import Card, CardCare
from ui.collector import Collector
from ui.session import Session
from ui.window import Window

logger = logging.getLogger(__name__)

LOG_LEVELS = {QtMsgType.QtCriticalMsg: logging.WARNING, QtMsgType.QtFatalMsg: logging.ERROR}
CARD_MS = 8000  # after the start, when everything else is loaded
KEEP_MS = 500  # after the last change, which may be one of many while a slider moves


class Keeper:
    """Remembers settings in `file`, a moment after they were chosen; what was given as flags only stays out of it."""

    def __init__(self, file: Path, settings: Settings) -> None:
        self._file = file
        self._kept = self._newest = settings
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(KEEP_MS)
        self._timer.timeout.connect(self.write)

    def keep(self, settings: Settings) -> None:
        self._newest = settings
        self._timer.start()

    def write(self) -> None:
        """What was chosen since the last time."""
        self._timer.stop()
        before, self._kept = self._kept, self._newest
        if before != self._kept:
            try:
                stored.save(self._file, before, self._kept)
            except SettingsError as error:
                logger.warning("%s", error)


def run(
    settings: Settings,
    *,
    load_engine: Callable[[str], Engine],
    file: Path,
    library: Library,
    tuning: Tuning | None = None,
    card: Card | None = None,
) -> None:
    """Show the window until it is closed.

    settings: to begin with; what the user changes is kept in `file`. load_engine: gives the engine of a name.
    tuning: without it, the window offers none. card: one that may have to be made ready to paint.
    An error that nothing in the window handles closes it and is raised here, KeyboardInterrupt included.
    """
    for variable in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"):
        os.environ.pop(variable, None)
    qInstallMessageHandler(_log)
    application = QApplication.instance() or QApplication(["puppet"])
    errors: list[BaseException] = []

    def close(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.append(error)
        application.exit(1)

    def stop(number: int, frame: FrameType | None) -> None:
        errors.append(KeyboardInterrupt())  # raised here it would tear whatever Qt is just painting
        application.exit(1)

    former_hook, sys.excepthook = sys.excepthook, close
    former_handler = signal.signal(signal.SIGINT, stop)
    try:
        language.use(settings.window.language)
        theme.apply(settings.window.theme)
        session = Session(settings, library=library, load_engine=load_engine, tuning=tuning)
        keeper = Keeper(file, settings)
        window = Window(session, keep=keeper.keep)
        entry = _entry(library, settings.window.portrait)
        window.show_still(entry)
        if settings.window.maximised:
            window.showMaximized()
        else:
            window.show()
        window.choose(entry.key)
        session.start()
        with Collector(), ExitStack() as held:
            if card is not None:
                care = CardCare(card, window)
                held.callback(care.close)
                window.tend(care)
                QTimer.singleShot(CARD_MS, care.begin)
            application.exec()
            window.close()
        keeper.write()
    finally:
        sys.excepthook = former_hook
        signal.signal(signal.SIGINT, former_handler)
        qInstallMessageHandler(None)
    if errors:
        raise errors[0]


def _entry(library: Library, portrait: str) -> Entry:
    """The portrait to begin with: the one of last time, or the first if that is gone."""
    if portrait:
        try:
            return library.entry(portrait)
        except PuppetError as error:
            logger.warning("%s", error)
    return library.entries()[0]


def _log(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logger.log(LOG_LEVELS.get(kind, logging.DEBUG), "Qt: %s", message)
