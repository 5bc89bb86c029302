"""The page on the loopback address: what its viewers get, who may view at all, and that it ends when it should."""

from __future__ import annotations

import io
import json
import logging
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image as Pictures

from puppet import stream
from puppet.__main__ import main
from puppet.settings import asset
from puppet.stream import StreamError, StreamServer, kept_token
from puppet.types import Frame, Image

PATIENCE_S = 10.0


@pytest.fixture
def server() -> Iterator[StreamServer]:
    with StreamServer(port=0) as server:
        yield server
    assert not [thread for thread in threading.enumerate() if "stream" in thread.name]


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def frame(level: int, index: int = 0, *, side: int = 64) -> Frame:
    return Frame(np.full((side, side, 3), level, np.uint8), index, time.monotonic_ns())


def ask(server: StreamServer, path: str, connections: ExitStack, **headers: str) -> HTTPResponse:
    """headers: with _ for -."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connections.callback(connection.close)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    connections.callback(reply.close)
    return reply


def watch(server: StreamServer, connections: ExitStack, key: str = "1") -> HTTPResponse:
    before = server.viewers
    reply = ask(server, f"/{server.token}/stream?{key}", connections)
    assert reply.status == 200
    assert reply.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=puppet-frame"
    wait_until(lambda: server.viewers > before)
    assert reply.readline() == b"--puppet-frame\r\n"
    return reply


def next_part(reply: HTTPResponse) -> tuple[str, bytes]:
    """Kind and content of a whole part, with the boundary after it."""
    kind = reply.readline().decode().strip().removeprefix("Content-Type: ")
    size = int(reply.readline().decode().removeprefix("Content-Length: "))
    assert reply.readline() == b"\r\n"
    content = reply.read(size)
    assert reply.readline() + reply.readline() == b"\r\n--puppet-frame\r\n"
    return kind, content


def decoded(content: bytes) -> Image:
    with Pictures.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def wait_until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_page_shows_the_stream(server: StreamServer, connections: ExitStack) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}/{server.token}"
    for path in (f"/{server.token}", f"/{server.token}/", f"/{server.token}/?from=OBS"):
        reply = ask(server, path, connections)
        assert (reply.status, reply.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
        page = reply.read().decode()
        assert f"/{server.token}/stream?" in page
        assert "TOKEN" not in page
        assert "frame-ancestors 'none'" in reply.getheader("Content-Security-Policy", "")


def test_viewers_get_what_is_sent_in_its_colours(server: StreamServer, connections: ExitStack) -> None:
    reply = watch(server, connections)
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48], image[:, 48:] = (200, 40, 20), (20, 60, 220)
    server.send(Frame(image, 0, 0))
    kind, content = next_part(reply)
    assert kind == "image/jpeg"
    assert np.abs(decoded(content)[8:-8, 8:40].astype(int) - (200, 40, 20)).max() < 6
    assert np.abs(decoded(content)[8:-8, 56:-8].astype(int) - (20, 60, 220)).max() < 6


def test_transparent_frames_stay_transparent_and_may_come_in_between(
    server: StreamServer, connections: ExitStack
) -> None:
    reply = watch(server, connections)
    image = np.full((64, 64, 4), (200, 40, 20, 0), np.uint8)
    image[:, 32:, 3] = 255
    image[:, 30:32, 3] = 128
    server.send(Frame(image, 0, 0))
    kind, content = next_part(reply)
    assert kind == "image/webp"
    np.testing.assert_array_equal(decoded(content)[..., 3], image[..., 3])
    assert np.abs(decoded(content)[8:-8, 40:-8, :3].astype(int) - (200, 40, 20)).max() < 8
    server.send(frame(90))
    kinds = [next_part(reply)[0]]
    while kinds[-1] == "image/webp" and len(kinds) < 5:  # on a slow machine the last one comes once more meanwhile
        kinds.append(next_part(reply)[0])
    assert kinds[-1] == "image/jpeg"


def test_a_frame_is_encoded_once_for_all_and_never_for_nobody(
    server: StreamServer, connections: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []

    def counted(image: Image) -> bytes:
        encoded.append(int(image[0, 0, 0]))
        return part(image)

    part = stream._part
    monkeypatch.setattr(stream, "_part", counted)
    server.send(frame(1))
    assert encoded == []
    viewers = [watch(server, connections) for _ in range(3)]
    first = {next_part(viewer)[1] for viewer in viewers}
    server.send(frame(2))
    second = {next_part(viewer)[1] for viewer in viewers}
    assert (len(first), len(second), encoded) == (1, 1, [1, 2])


def test_who_comes_late_sees_the_newest_frame_at_once(server: StreamServer, connections: ExitStack) -> None:
    server.send(frame(10))
    server.send(frame(200))
    assert abs(int(decoded(next_part(watch(server, connections))[1]).mean()) - 200) < 3


def test_when_no_frame_comes_the_last_one_is_repeated(
    server: StreamServer, connections: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "REPEAT_S", 0.01)
    reply = watch(server, connections)
    server.send(frame(70))
    assert next_part(reply) == next_part(reply)


def test_a_viewer_who_takes_nothing_does_not_slow_the_others(server: StreamServer, connections: ExitStack) -> None:
    watch(server, connections)  # and never read
    fast = watch(server, connections)
    rng = np.random.default_rng(1)
    for index in range(40):  # some 20 MB, which no buffer holds
        server.send(Frame(rng.integers(0, 256, (768, 768, 3), np.uint8), index, 0))
        assert decoded(next_part(fast)[1]).shape == (768, 768, 3)
    server.send(frame(20))
    brightness = (float(decoded(next_part(fast)[1]).mean()) for _ in range(40))  # some may have been sent twice
    assert any(abs(each - 20) < 3 for each in brightness)


def test_a_viewer_who_leaves_is_forgotten(
    server: StreamServer, connections: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "REPEAT_S", 0.01)
    server.send(frame(1))
    with ExitStack() as short:
        watch(server, short, key="17")
        assert ask(server, f"/{server.token}/watching?17", connections).read() == b"yes"
    wait_until(lambda: server.viewers == 0)
    assert ask(server, f"/{server.token}/watching?17", connections).read() == b"no"


def test_there_is_a_limit_to_viewers(
    server: StreamServer, connections: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "VIEWERS", 1)
    watch(server, connections)
    assert ask(server, f"/{server.token}/stream", connections).status == 503


@pytest.mark.parametrize("path", ["/", "/stream", "/x/stream", "/favicon.ico", "/../etc/passwd", "/%00", "//", "/\xfc"])
def test_nothing_is_there_without_the_secret(path: str, server: StreamServer) -> None:
    server.send(frame(1))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw, raw.makefile("rb") as reply:
        raw.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode("latin-1"))
        assert reply.readline().split()[1] == b"404"
        assert server.token.encode() not in reply.read()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8737"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_other_sites_are_refused_even_with_the_secret(
    headers: dict[str, str], server: StreamServer, connections: ExitStack
) -> None:
    server.send(frame(1))
    for path in (f"/{server.token}", f"/{server.token}/stream", f"/{server.token}/watching"):
        reply = ask(server, path, connections, **headers)
        assert reply.status == 403
        assert server.token not in reply.read().decode()
    assert server.viewers == 0


def test_its_own_page_is_not_refused(server: StreamServer, connections: ExitStack) -> None:
    for host in ("127.0.0.1", "localhost"):
        own = f"{host}:{server.port}"
        headers = {"Host": own, "Origin": f"http://{own}", "Sec_Fetch_Site": "same-origin"}
        assert ask(server, f"/{server.token}", connections, **headers).status == 200


def test_requests_other_than_get_are_refused(server: StreamServer, connections: ExitStack) -> None:
    for method in ("POST", "HEAD", "OPTIONS"):
        connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        connections.callback(connection.close)
        connection.request(method, f"/{server.token}")
        assert connection.getresponse().status == 501


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is only one loopback address")
def test_only_the_loopback_address_is_served(server: StreamServer) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), PATIENCE_S)


def test_nothing_of_the_secret_is_logged(
    server: StreamServer, connections: ExitStack, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ask(server, f"/{server.token}", connections).read()
    ask(server, f"/{server.token}/nothing", connections).read()
    captured = capfd.readouterr()
    assert server.token not in caplog.text + captured.out + captured.err


def test_closing_ends_every_viewer_and_frees_the_port(connections: ExitStack) -> None:
    server = StreamServer(port=0)
    waiting = watch(server, connections)
    watch(server, connections)  # takes nothing
    silent = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)  # asks for nothing
    connections.callback(silent.close)
    for index in range(5):
        server.send(Frame(np.random.default_rng(index).integers(0, 256, (768, 768, 3), np.uint8), index, 0))
    server.close()
    server.close()
    assert not [thread for thread in threading.enumerate() if "stream" in thread.name]
    waiting.read()  # comes to its end
    with StreamServer(port=server.port) as again:
        assert again.port == server.port
        assert again.token != server.token


def test_port_that_is_taken_or_is_none(server: StreamServer) -> None:
    with pytest.raises(StreamError, match=rf"Port {server.port} .* in use.*--port"):
        StreamServer(port=server.port)
    with pytest.raises(StreamError, match="Port 70000"):
        StreamServer(port=70000)


def test_the_secret_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "config"
    token = kept_token(folder)
    assert len(token) >= 20
    assert kept_token(folder) == token
    [file] = folder.iterdir()
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for damaged in (b"", b"short", b"../../../../../../etc/passwd", b"\xff" * 30):
        file.write_bytes(damaged)
        fresh = kept_token(folder)
        assert fresh != token
        assert kept_token(folder) == fresh


def test_a_secret_that_cannot_be_kept_serves_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert kept_token(tmp_path / "file") != kept_token(tmp_path / "file")
    assert "another address next time" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_command_shows_the_portrait_until_ctrl_c(connections: ExitStack) -> None:
    command = [sys.executable, "-m", "puppet", "stream", "--size", "128", "--port", "0", "--background", "transparent"]
    program = subprocess.Popen(
        [*command, "--camera", str(asset("sample.motion")), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    with program:
        assert program.stdout is not None
        about = json.loads(program.stdout.readline())
        assert (about["to"], about["camera"]) == ("http", "")
        address = urlsplit(about["place"])
        connection = HTTPConnection(address.netloc, timeout=PATIENCE_S)
        connections.callback(connection.close)
        connection.request("GET", f"{address.path}/stream")
        reply = connections.enter_context(connection.getresponse())
        reply.readline()
        kind, content = next_part(reply)
        assert kind == "image/webp"
        assert decoded(content).shape[2] == 4
        assert {0, 255} <= set(decoded(content)[..., 3].flat)
        program.send_signal(signal.SIGINT)
        output, errors = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, output, errors) == (130, "", "puppet: Stopped.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--background", "blurr", "--port", "0"], "There is no background 'blurr'"),
        (["--port", "-1"], "Port -1"),
        (["--camera", "missing.mp4", "--port", "0"], "There is no file missing.mp4"),
        (["--portrait", "missing.png", "--port", "0"], "There is no file missing.png"),
    ],
)
def test_command_says_what_is_wrong(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", "--size", "128", *arguments]) == 2
    assert sentence in capsys.readouterr().err
