"""A page on this computer that shows the puppet, for OBS's Browser source or any browser, without a virtual camera.

The page holds one picture that the server replaces for ever (multipart/x-mixed-replace): JPEG, or WebP where frames are
transparent. Nobody else may look: the server is bound to the loopback address, the page's address holds a secret, and
what another site's page asks for is refused, even under a name that was made to lead here (DNS rebinding).
"""

from __future__ import annotations

import io
import logging
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import cv2
from PIL import Image as Pictures

from puppet.settings import StreamSettings, asset
from puppet.types import Closing, Frame, Image, PuppetError
from puppet.workers import Latest, Worker

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORT = StreamSettings().port
TOKEN = re.compile(r"[\w-]{20,}", re.ASCII)
TOKEN_BYTES = 16
JPEG_QUALITY = WEBP_QUALITY = 85
VIEWERS = 16  # at most at a time
BOUNDARY = "puppet-frame"
REPEAT_S = 2.0  # without a new frame, the old one comes again, which finds out viewers that have gone
STALLED_S = 10.0  # a viewer that takes nothing for so long is given up
SEND_BUFFER_BYTES = 1 << 17  # a frame or two: what lies in the system's buffers grows old there
STOP_TIMEOUT_S = 2.0
POLL_S = 0.2  # until the listener notices that it should end
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class StreamError(PuppetError, OSError):
    """The page cannot be served."""


def kept_token(folder: Path) -> str:
    """The secret in the page's address, kept in `folder` so that OBS needs to be given the address only once."""
    file = folder / "stream-token"
    with suppress(OSError, UnicodeDecodeError):
        token = file.read_text("ascii").strip()
        if TOKEN.fullmatch(token):
            return token
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as opened:
            opened.write(token)
    except OSError as error:
        logger.warning("The stream has another address next time: %s cannot be written (%s).", file, error.strerror)
    return token


class StreamServer(Closing):
    """A Sink that shows each viewer of `url` the newest frame, as fast as that viewer takes them.

    A frame is encoded once for all viewers, in the thread that sends it, and not at all while there is none.
    Port 0 is any that is free. Without a token, one is made up. Raises StreamError.
    """

    def __init__(self, *, port: int = PORT, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self._frame: Frame | None = None
        self._part: tuple[Frame, bytes] | None = None  # of the frame that was encoded last
        self._encoding = threading.Lock()
        self._viewers: Mapping[Latest[bytes], str] = {}  # with the key that each came with; never changed, but replaced
        self._admission = threading.Lock()
        self._open = True
        try:
            self._server = _Server(self, port)
        except (OSError, OverflowError) as error:
            raise StreamError(
                f"Port {port} of this computer cannot be used ({getattr(error, 'strerror', error)}); "
                "close what uses it, or choose another one with --port, or as stream.port in the settings."
            ) from error
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        """Of the page; whoever knows it and sits at this computer can watch."""
        return f"http://{HOST}:{self.port}/{self.token}"

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def send(self, frame: Frame) -> None:
        """Show (H, W, 3) RGB or (H, W, 4) RGBA of any size."""
        self._frame = frame
        viewers = self._viewers
        if viewers:
            part = self._encoded()
            for slot in viewers:
                slot.put(part)

    def close(self) -> None:
        """Let go of every viewer and of the port, within two seconds."""
        with self._admission:
            self._open = False
            for slot in self._viewers:
                slot.close()
        self._server.close()

    def is_watching(self, key: str) -> bool:
        return key in self._viewers.values()

    @contextmanager
    def watching(self, key: str) -> Iterator[Iterator[bytes] | None]:
        """What to write to one viewer, part after part; None if there are too many."""
        slot: Latest[bytes] = Latest()
        with self._admission:
            admitted = self._open and len(self._viewers) < VIEWERS
            if admitted:
                self._viewers = {**self._viewers, slot: key}
        try:
            yield self._parts(slot) if admitted else None
        finally:
            with self._admission:
                self._viewers = {other: its for other, its in self._viewers.items() if other is not slot}

    def _parts(self, slot: Latest[bytes]) -> Iterator[bytes]:
        wait_s = 0.0  # nobody waits for the first picture
        while not slot.closed:
            part = slot.take(wait_s) or self._encoded()
            if part:
                yield part
            wait_s = REPEAT_S

    def _encoded(self) -> bytes:
        """The newest frame as a part of the stream; empty if there is none."""
        with self._encoding:
            frame = self._frame
            if frame is None:
                return b""
            if self._part is None or self._part[0] is not frame:
                self._part = frame, _part(frame.image)
            return self._part[1]


class _Server(TCPServer):
    """Accepts connections in one thread and serves each in a thread of its own."""

    allow_reuse_address = sys.platform != "win32"  # elsewhere it only skips a wait; there it shares the port
    request_queue_size = 16

    def __init__(self, stream: StreamServer, port: int) -> None:
        self.stream = stream
        self._connections: dict[socket.socket, Worker] = {}
        self._lock = threading.Lock()
        super().__init__((HOST, port), _Request)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        self._listener = Worker("stream", [POLL_S], self._listen)
        self._listener.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        def serve(connection: socket.socket) -> bool:
            try:
                self.finish_request(connection, client_address)
            finally:
                with self._lock:
                    del self._connections[connection]
                self.shutdown_request(connection)
            return False

        def ended(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, OSError):  # those mean that the viewer has gone
                logger.error("A viewer of the stream could not be served: %r", error)

        with self._lock:
            worker = self._connections[request] = Worker("stream to a viewer", [request], serve, ended=ended)
            worker.start()

    def close(self) -> None:
        """Hang up on everybody."""
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        self.shutdown()
        self.server_close()
        with self._lock:
            workers = list(self._connections.values())
            for connection in self._connections:
                with suppress(OSError):  # the viewer was faster
                    connection.shutdown(socket.SHUT_RDWR)
        for worker in (self._listener, *workers):
            if not worker.join(max(0.0, deadline_s - time.monotonic())):
                logger.warning("The %s hangs; it was left behind.", worker.name)

    def _listen(self, poll_s: float) -> bool:
        self.serve_forever(poll_s)
        return False


class _Request(BaseHTTPRequestHandler):
    """One request of a browser; the connection is closed after it."""

    server: _Server
    server_version, sys_version = "Puppet", ""
    timeout = STALLED_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # the base class's name
        stream = self.server.stream
        path, _, key = self.path.partition("?")
        token, _, name = path.strip("/").partition("/")
        if not self._is_ours():
            self.send_error(HTTPStatus.FORBIDDEN, "Only a browser on this computer may watch, in a page of its own")
        elif not secrets.compare_digest(token.encode(), stream.token.encode()):
            self.send_error(HTTPStatus.NOT_FOUND, "There is nothing here; use the whole address that Puppet shows")
        elif name == "":
            self._send_text("text/html", asset("stream.html").read_text("utf-8").replace("TOKEN", stream.token))
        elif name == "watching":
            self._send_text("text/plain", "yes" if stream.is_watching(key) else "no")
        elif name == "stream":
            with stream.watching(key) as parts:
                if parts is None:
                    self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Too many viewers")
                else:
                    self._send_parts(parts)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _is_ours(self) -> bool:
        """Whether somebody at this computer asks: not a page from elsewhere, nor through a name from elsewhere."""
        hosts = {f"{host}:{self.server.stream.port}" for host in (HOST, "localhost")}
        return (
            self.headers.get("Host") in hosts
            and self.headers.get("Origin") in {None, *(f"http://{host}" for host in hosts)}
            and self.headers.get("Sec-Fetch-Site") in {None, "none", "same-origin"}
        )

    def _send_text(self, kind: str, text: str) -> None:
        self._begin(f"{kind}; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def _send_parts(self, parts: Iterator[bytes]) -> None:
        self._begin(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        self.wfile.write(f"--{BOUNDARY}\r\n".encode())
        for part in parts:
            self.wfile.write(part)

    def _begin(self, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses hold the secret."""


def _part(image: Image) -> bytes:
    """One picture of the stream and the line that ends it: if that came with the next, browsers would lag by one."""
    if image.shape[2] == 4:
        buffer = io.BytesIO()
        Pictures.fromarray(image).save(buffer, "WEBP", quality=WEBP_QUALITY, method=0)  # of 0..6, the fastest
        kind, data = "webp", buffer.getvalue()
    else:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        kind, data = "jpeg", cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    head = f"Content-Type: image/{kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data + f"\r\n--{BOUNDARY}\r\n".encode()
