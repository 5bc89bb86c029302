"""Starts Qt, shows the window, and hands back whatever went wrong in it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import cv2  # noqa: F401 - before Qt: it points Qt at plug-ins and fonts of its own, which the next lines undo
from PySide6.QtCore import QMessageLogContext, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

from puppet.live import Live
from puppet.types import PortraitEmbedding, Sink
from ui.bridge import FrameInbox
from ui.window import Window

logger = logging.getLogger(__name__)

LOG_LEVELS = {QtMsgType.QtCriticalMsg: logging.WARNING, QtMsgType.QtFatalMsg: logging.ERROR}


def run(
    make_live: Callable[[Sink], Live],
    *,
    embed: Callable[[Path], PortraitEmbedding],
    portraits: Sequence[Path],
    chosen: Path,
    notice: str = "",
) -> None:
    """Show the window until it is closed; `make_live` makes what it shows, given the window as a sink.

    An error that nothing in the window handles closes it and is raised here, KeyboardInterrupt included. The other
    arguments are Window's.
    """
    for variable in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"):
        os.environ.pop(variable, None)
    qInstallMessageHandler(_log)
    application = QApplication.instance() or QApplication(["puppet"])
    errors: list[BaseException] = []

    def close(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.append(error)
        application.exit(1)

    former_hook, sys.excepthook = sys.excepthook, close
    try:
        inbox = FrameInbox()
        with make_live(inbox) as live:
            window = Window(live, inbox, embed=embed, portraits=portraits, chosen=chosen, notice=notice)
            window.show()
            application.exec()
            window.close()
    finally:
        sys.excepthook = former_hook
        qInstallMessageHandler(None)
    if errors:
        raise errors[0]


def _log(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logger.log(LOG_LEVELS.get(kind, logging.DEBUG), "Qt: %s", message)
