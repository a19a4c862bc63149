"""A server is asked carefully: in time, within limits, and nobody else is."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from mlog.sources.mlflow_client import Client, ServerError
from tests.http_server import Answer, Request, Server, hang_up, raw, reply

TOKEN = "tok-3f9a1c77aa41"

Open = Callable[..., Client]


@pytest.fixture
def open_client(server: Server) -> Iterator[Open]:
    """Make clients of the server, which do not wait, and close them after the test."""
    made: list[Client] = []

    def make(env: dict[str, str] | None = None, **options: Any) -> Client:
        given = {"sleep": lambda _: None, **options}
        made.append(Client(server.url, env or {}, **given))
        return made[-1]

    server.usual = reply(200, b'{"a": 1}')
    yield make
    for client in made:
        client.__exit__(None, None, None)


@pytest.fixture
def client(open_client: Open) -> Client:
    return open_client()


def test_get_and_post(server: Server, client: Client) -> None:
    assert client.get("/x", {"a": "b/c", "n": 5}) == {"a": 1}
    assert client.post("/y", {"k": 1}) == {"a": 1}
    got, posted = server.requests
    assert (got.method, got.target) == ("GET", "/in/x?a=b%2Fc&n=5")
    assert (posted.method, posted.target) == ("POST", "/in/y")
    assert orjson.loads(posted.body) == {"k": 1}
    assert posted.headers["content-type"] == "application/json"


class TestCredentials:
    def test_token(self, server: Server, open_client: Open) -> None:
        open_client({"MLFLOW_TRACKING_TOKEN": TOKEN + "\n"}).get("/x", {})
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"

    def test_user_and_password_come_first(
        self, server: Server, open_client: Open
    ) -> None:
        env = {
            "MLFLOW_TRACKING_TOKEN": TOKEN,
            "MLFLOW_TRACKING_USERNAME": "ada",
            "MLFLOW_TRACKING_PASSWORD": "pw",
        }
        open_client(env).get("/x", {})
        expected = base64.b64encode(b"ada:pw").decode()
        assert server.requests[0].headers["authorization"] == f"Basic {expected}"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
    def test_none_is_in_an_error(
        self, server: Server, open_client: Open, status: int
    ) -> None:
        """Also where the server sends it back."""
        text = f'{{"message": "no\\u001b[31m {TOKEN}"}}'
        server.usual = reply(status, text.encode())
        with pytest.raises(ServerError) as error:
            open_client({"MLFLOW_TRACKING_TOKEN": TOKEN}).get("/x", {})
        assert (error.value.status, TOKEN in str(error.value)) == (status, False)
        assert "\x1b" not in str(error.value)

    def test_an_error_says_where_they_come_from(
        self, server: Server, client: Client
    ) -> None:
        server.usual = reply(401)
        with pytest.raises(ServerError) as error:
            client.get("/x", {})
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
    def test_redirects_are_not_followed(
        self, server: Server, client: Client, status: int
    ) -> None:
        server.usual = reply(status, headers={"Location": "http://evil.example/x?t=1"})
        with pytest.raises(ServerError, match=r"redirects to evil\.example;"):
            client.get("/x", {})
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_busy_servers_are_asked_again(
        self, server: Server, open_client: Open, status: int
    ) -> None:
        busy = reply(status, headers={"Retry-After": "7"})
        server.script, waits = [busy, busy], list[float]()
        assert open_client(sleep=waits.append).get("/x", {}) == {"a": 1}
        assert waits == [7, 7]

    def test_waits_grow_and_end(self, server: Server, open_client: Open) -> None:
        server.usual, waits = reply(503, b"later"), list[float]()
        with pytest.raises(ServerError, match="later") as error:
            open_client(sleep=waits.append).get("/x", {})
        assert (waits, error.value.status) == ([1, 2, 4, 8], 503)

    def test_a_long_wait_is_cut(self, server: Server, open_client: Open) -> None:
        server.usual = reply(429, headers={"Retry-After": "86400"})
        waits: list[float] = []
        with pytest.raises(ServerError):
            open_client(sleep=waits.append).get("/x", {})
        assert set(waits) == {60}

    def test_nobody_there(self) -> None:
        """Whoever never answered is not asked again and again."""
        waits: list[float] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with (
            Client(url, {}, sleep=waits.append) as asked,
            pytest.raises(ServerError, match=f"no answer from {url}") as error,
        ):
            asked.get("/x", {})
        assert (waits, error.value.status) == ([], 0)

    def test_a_lost_connection_is_tried_again(
        self, server: Server, client: Client
    ) -> None:
        server.script = [server.usual, hang_up]
        client.get("/x", {})
        assert client.get("/x", {}) == {"a": 1}
        assert len(server.requests) == 3

    @pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"\xff"])
    def test_what_is_no_object(
        self, server: Server, client: Client, body: bytes
    ) -> None:
        server.usual = reply(200, body)
        with pytest.raises(ServerError, match="no JSON object"):
            client.get("/x", {})

    def test_a_reply_without_end(self, server: Server, open_client: Open) -> None:
        server.usual = reply(200, b"x" * 1_000_000)
        with pytest.raises(ServerError, match="more than 100,000 bytes"):
            open_client(max_reply=100_000).get("/x", {})

    @pytest.mark.parametrize(
        ("begin", "drop"),
        [
            (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        ],
        ids=["head", "body"],
    )
    def test_a_reply_that_drips(
        self, server: Server, open_client: Open, begin: bytes, drop: bytes
    ) -> None:
        """Each read is in time; all of them together are not."""
        gone = threading.Event()
        server.usual = dripping(begin, drop, gone)
        began = time.monotonic()
        with pytest.raises(ServerError, match="in time"):
            open_client(deadline=0.4).get("/x", {})
        gone.set()
        assert time.monotonic() - began < 30


def dripping(begin: bytes, drop: bytes, gone: threading.Event) -> Answer:
    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(begin)
        while not gone.wait(0.02):
            connection.sendall(drop)

    return answer


class TestFiles:
    def test_a_file(self, server: Server, client: Client) -> None:
        server.usual = reply(200, bytes(range(256)) * 1000)
        with client.stream("/f", {"path": "a b"}, 1 << 20) as file:
            assert file.read(3) == b"\0\1\2"
            assert len(file.read()) == 255_997
            assert file.read(1) == b""
        assert server.requests[0].target == "/in/f?path=a+b"

    def test_one_that_is_too_large(self, server: Server, client: Client) -> None:
        server.usual = reply(200, b"x" * 200_000)
        with (
            pytest.raises(ServerError, match="more than 100,000 bytes"),
            client.stream("/f", {}, 100_000) as file,
        ):
            file.read()

    def test_one_that_breaks_off(self, server: Server, client: Client) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        server.usual = raw(head, b"x" * 10)
        with (
            pytest.raises(ServerError, match="no answer from"),
            client.stream("/f", {}, 1000) as file,
        ):
            file.read()

    def test_a_busy_server_is_asked_again(self, server: Server, client: Client) -> None:
        server.script = [reply(503, b"later")]
        with client.stream("/f", {}, 1000) as file:
            assert file.read() == b'{"a": 1}'
