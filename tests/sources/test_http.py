"""A server is asked carefully: in time, within limits, and nobody else is."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mlog.sources import http
from mlog.sources.http import Client, HTTPError

TOKEN = "tok-3f9a1c77aa41"


class Server:
    """A real server whose answers are functions.

    Attributes:
        url: Its address.
        seen: Method, path and headers of each request.
        answer: Is given the handler of a request.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.answer: Callable[[Any], None] = lambda h: reply(h, 200, b'{"a": 1}')
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                self.rfile.read(size)
                outer.seen.append((self.command, self.path, dict(self.headers)))
                with suppress(OSError):
                    outer.answer(self)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # connections are broken on purpose

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def stop(self) -> None:
        """Be gone; a second call does nothing."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def reply(handler: Any, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def client(server: Server, **options: Any) -> Client:
    env = options.pop("env", {})
    return Client(server.url, env, **{"sleep": lambda _: None, **options})


def test_get_and_post(server: Server) -> None:
    with client(server) as asked:
        assert asked.get("/x", {"a": "b/c"}) == {"a": 1}
        assert asked.post("/y", {"k": 1}) == {"a": 1}
    assert [path for _, path, _ in server.seen] == ["/x?a=b%2Fc", "/y"]
    assert server.seen[0][2]["Accept-Encoding"] == "identity"


class TestCredentials:
    def test_token(self, server: Server) -> None:
        with client(server, env={"MLFLOW_TRACKING_TOKEN": TOKEN}) as asked:
            asked.get("/x", {})
        assert server.seen[0][2]["Authorization"] == f"Bearer {TOKEN}"

    def test_user_and_password_come_first(self, server: Server) -> None:
        env = {
            "MLFLOW_TRACKING_TOKEN": TOKEN,
            "MLFLOW_TRACKING_USERNAME": "ada",
            "MLFLOW_TRACKING_PASSWORD": "pw",
        }
        with client(server, env=env) as asked:
            asked.get("/x", {})
        expected = base64.b64encode(b"ada:pw").decode()
        assert server.seen[0][2]["Authorization"] == f"Basic {expected}"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
    def test_none_is_in_an_error(self, server: Server, status: int) -> None:
        server.answer = lambda h: reply(h, status, b'{"message": "no\\u001b[31m"}')
        with (
            client(server, env={"MLFLOW_TRACKING_TOKEN": TOKEN}) as asked,
            pytest.raises(HTTPError) as error,
        ):
            asked.get("/x", {})
        assert (error.value.status, TOKEN in str(error.value)) == (status, False)
        assert "\x1b" not in str(error.value)

    def test_an_error_says_where_they_come_from(self, server: Server) -> None:
        server.answer = lambda h: reply(h, 401)
        with client(server) as asked, pytest.raises(HTTPError) as error:
            asked.get("/x", {})
        assert "MLFLOW_TRACKING_TOKEN" in str(error.value)
        assert "neither is set" in str(error.value)

    def test_an_impossible_token(self) -> None:
        with pytest.raises(ValueError, match="no token") as error:
            Client("http://h", {"MLFLOW_TRACKING_TOKEN": "tøk\nX: y"})
        assert "tøk" not in str(error.value)

    @pytest.mark.parametrize(
        ("url", "is_open"),
        [("http://h", True), ("https://h", False), ("http://127.0.0.1:1", False)],
    )
    def test_whether_they_go_unencrypted(self, url: str, is_open: bool) -> None:
        with Client(url, {"MLFLOW_TRACKING_TOKEN": TOKEN}) as asked:
            assert asked.is_open_wire is is_open
        with Client(url, {}) as asked:
            assert not asked.is_open_wire


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://h", "http://", "http://u:pw@h", "http://h?x=1", "http://h:port"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="address") as error:
        Client(url, {})
    assert "pw" not in str(error.value)


class TestTrouble:
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_redirects_are_not_followed(self, server: Server, status: int) -> None:
        server.answer = lambda h: reply(h, status, Location="http://evil.example/x?t=1")
        with client(server) as asked, pytest.raises(HTTPError) as error:
            asked.get("/x", {})
        assert "redirects to evil.example;" in str(error.value)
        assert len(server.seen) == 1

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_busy_servers_are_asked_again(self, server: Server, status: int) -> None:
        def answer(handler: Any) -> None:
            busy = len(server.seen) < 3
            if busy:
                reply(handler, status, Retry_After="7")
            else:
                reply(handler, 200, b'{"a": 2}')

        server.answer, waits = answer, list[float]()
        with client(server, sleep=waits.append) as asked:
            assert asked.get("/x", {}) == {"a": 2}
        assert waits == [7, 7]

    def test_waits_grow_and_end(self, server: Server) -> None:
        server.answer = lambda h: reply(h, 503, b"later")
        waits: list[float] = []
        with client(server, sleep=waits.append) as asked, pytest.raises(HTTPError) as e:
            asked.get("/x", {})
        assert (waits, e.value.status) == ([1, 2, 4, 8], 503)

    def test_a_long_wait_is_cut(self, server: Server) -> None:
        server.answer = lambda h: reply(h, 429, Retry_After="86400")
        waits: list[float] = []
        with client(server, sleep=waits.append) as asked, pytest.raises(HTTPError):
            asked.get("/x", {})
        assert set(waits) == {60}

    def test_nobody_there(self, server: Server) -> None:
        """Whoever never answered is not asked again and again."""
        waits: list[float] = []
        server.stop()
        with client(server, sleep=waits.append) as asked, pytest.raises(HTTPError) as e:
            asked.get("/x", {})
        assert (waits, e.value.status) == ([], 0)

    def test_a_lost_connection_is_tried_again(self, server: Server) -> None:
        def answer(handler: Any) -> None:
            if len(server.seen) == 2:
                handler.connection.shutdown(socket.SHUT_RDWR)
            else:
                reply(handler, 200, b"{}")

        server.answer = answer
        with client(server) as asked:
            asked.get("/x", {})
            assert asked.get("/x", {}) == {}

    @pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"\xff"])
    def test_what_is_no_object(self, server: Server, body: bytes) -> None:
        server.answer = lambda h: reply(h, 200, body)
        with client(server) as asked, pytest.raises(HTTPError, match="no JSON object"):
            asked.get("/x", {})

    def test_a_reply_without_end(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "_MAX_REPLY", 100_000)
        server.answer = lambda h: reply(h, 200, b"x" * 1_000_000)
        with client(server) as asked, pytest.raises(HTTPError, match="more than"):
            asked.get("/x", {})

    def test_a_head_that_drips(self, server: Server) -> None:
        """Each read is in time; all of them together are not."""
        gone = threading.Event()

        def answer(handler: Any) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not gone.is_set():
                handler.wfile.write(b"X-A: b\r\n")
                gone.wait(0.02)

        server.answer = answer
        began = time.monotonic()
        with client(server, timeout=0.4) as asked, pytest.raises(HTTPError) as error:
            asked.get("/x", {})
        gone.set()
        assert "did not answer within 0.4 s" in str(error.value)
        assert time.monotonic() - began < 30

    def test_a_body_that_drips(self, server: Server) -> None:
        gone = threading.Event()

        def answer(handler: Any) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
            while not gone.is_set():
                handler.wfile.write(b" ")
                gone.wait(0.02)

        server.answer = answer
        with client(server, timeout=0.4) as asked, pytest.raises(HTTPError) as error:
            asked.get("/x", {})
        gone.set()
        assert "too slowly" in str(error.value)


class TestFiles:
    def test_a_file(self, server: Server) -> None:
        server.answer = lambda h: reply(h, 200, bytes(range(256)) * 1000)
        with client(server) as asked, asked.stream("/f", {}, 1 << 20) as file:
            assert file.read(3) == b"\0\1\2"
            assert len(file.read()) == 255_997
            assert file.read(1) == b""

    def test_one_that_is_too_large(self, server: Server) -> None:
        server.answer = lambda h: reply(h, 200, b"x" * 200_000)
        with (
            client(server) as asked,
            asked.stream("/f", {}, 100_000) as file,
            pytest.raises(HTTPError, match="more than 100,000 bytes"),
        ):
            file.read()

    def test_one_that_breaks_off(self, server: Server) -> None:
        def answer(handler: Any) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.wfile.write(b"x" * 10)
            handler.close_connection = True

        server.answer = answer
        with (
            client(server) as asked,
            asked.stream("/f", {}, 1000) as file,
            pytest.raises(HTTPError, match="cannot be reached"),
        ):
            file.read()
