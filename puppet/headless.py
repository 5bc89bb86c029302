"""A live show without a window: from a source to one output, until it is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from puppet.live import Live, OpenedSource
from puppet.motion import Mode, Retargeter
from puppet.settings import config_dir
from puppet.stream import PORT, StreamServer, kept_token
from puppet.types import Calibration, Engine, PortraitEmbedding, PuppetError, Sink
from puppet.virtual_camera import VirtualCamera

logger = logging.getLogger(__name__)


@contextmanager
def open_output(to: str, *, port: int | None = None) -> Iterator[tuple[Sink, str]]:
    """The output "http" or "virtual-camera", and where it is found: the page's address, or the camera's name."""
    if to == "http":
        with StreamServer(port=PORT if port is None else port, token=kept_token(config_dir())) as server:
            yield server, server.url
    else:
        with VirtualCamera() as camera:
            yield camera, camera.status.device


def show(
    opened: OpenedSource,
    embedding: PortraitEmbedding,
    sink: Sink,
    *,
    engine: Engine,
    mode: Mode = "relative",
    calibration: Calibration | None = None,
    keep: Callable[[Calibration, str], None],
) -> None:
    """Run until the source ends, which a camera never does, or KeyboardInterrupt.

    keep: called with each new rest of the driver and the camera's name. Raises the error of a part that fails.
    """

    def calibrated(calibration: Calibration) -> None:
        if opened.camera:
            try:
                keep(calibration, opened.camera)
            except PuppetError as error:
                logger.warning("%s", error)

    if opened.notice:
        logger.warning("%s", opened.notice)
    retargeter = Retargeter(mode=mode, calibration=calibration)
    with Live(
        opened.source, engine=engine, embedding=embedding, retargeter=retargeter, sinks=[sink], calibrated=calibrated
    ) as live:
        live.join()
