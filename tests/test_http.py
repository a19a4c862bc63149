"""The HTTP client against a server that does everything wrong."""

import io
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.http import HttpClient, HttpError, excerpt, parse_retry_after
from tests.http_server import Request, Server, hang_up, raw, reply

SECRET = "tok-123-secret"


Open = Callable[..., HttpClient]


@pytest.fixture
def open_client() -> Iterator[Open]:
    """Make clients that are closed after the test."""
    made: list[HttpClient] = []

    def make(url: str, **options: Any) -> HttpClient:
        made.append(HttpClient(url, options.pop("env", {}), **options))
        return made[-1]

    yield make
    for client in made:
        client.close()
        client.close()


@pytest.fixture
def client(server: Server, open_client: Open) -> HttpClient:
    """A client of the server, with a token."""
    return open_client(server.url, auth=lambda: {"authorization": f"Bearer {SECRET}"})


def test_a_request_and_its_reply(server: Server, client: HttpClient) -> None:
    server.usual = reply(200, b'{"ok":true}', {"X-Thing": "1"})
    found = client.request(
        "POST", "a b/c", content=b"body", query={"q": "ä&="}, headers={"X-A": "1"}
    )
    assert (found.status, found.json(), found.headers["x-thing"]) == (
        200,
        {"ok": True},
        "1",
    )
    got = server.requests[0]
    assert (got.method, got.target) == ("POST", "/in/a%20b/c?q=%C3%A4%26%3D")
    assert got.body == b"body"
    assert got.headers["accept-encoding"] == "identity"
    assert got.headers["authorization"] == f"Bearer {SECRET}"
    assert got.headers["host"] == f"127.0.0.1:{server.port}"


def test_connections_are_kept(server: Server, client: HttpClient) -> None:
    """A thousand batches do not need a thousand connections."""
    ports: list[int] = []

    def note(request: Request, connection: socket.socket) -> None:
        ports.append(connection.getpeername()[1])
        reply(200)(request, connection)

    server.usual = note
    for _ in range(3):
        client.request("POST")
    assert len(set(ports)) == 1


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", id="body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", id="chunks"
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="continue"),
    ],
)
def test_a_server_that_drips_meets_the_deadline(
    server: Server, open_client: Open, begin: bytes
) -> None:
    """Each byte comes in time, and yet the whole does not."""
    over = threading.Event()

    def drip(request: Request, connection: socket.socket) -> None:
        connection.sendall(begin)
        drop = {b"": b"HTTP/1.1 200 OK\r\nx-a: "}.get(begin, b"1\r\nx\r\n")
        while not over.wait(0.02):
            connection.sendall(drop[:1] if not begin else drop)

    server.usual = drip
    began = time.monotonic()
    try:
        with pytest.raises(HttpError, match="in time"):
            open_client(server.url, deadline=0.3).request("POST")
    finally:
        over.set()
    assert time.monotonic() - began < 5  # not for ever


def test_a_server_that_does_not_read_meets_the_deadline(open_client: Open) -> None:
    """A large body to somebody who does not take it ends in time, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        own = open_client(url, deadline=0.3)
        with pytest.raises(HttpError, match="in time"):
            own.request("POST", content=bytes(64 << 20))


def test_a_large_reply_is_cut(
    server: Server, client: HttpClient, open_client: Open
) -> None:
    """An endless reply costs no memory, and its status counts."""
    head = b"HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    server.script = [raw(head, *[chunk] * 100)]
    found = open_client(server.url, max_reply=1000).request("POST")
    assert (found.status, len(found.body), found.cut) == (503, 1000, True)
    assert client.request("POST").status == 200


def test_a_coded_reply_is_not_decoded(server: Server, client: HttpClient) -> None:
    """A few bytes that stand for gigabytes stay a few bytes."""
    bomb = b"\x1f\x8b" + bytes(100)
    server.usual = reply(200, bomb, {"content-encoding": "gzip"})
    found = client.request("POST")
    assert found.body == bomb
    assert found.json() is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: Server, client: HttpClient, status: int
) -> None:
    """Credentials never go to another host, nor a POST becomes a GET."""
    elsewhere = "http://127.0.0.1:9/steal"
    server.usual = reply(status, headers={"location": elsewhere})
    assert client.request("POST", content=b"x").status == status
    assert len(server.requests) == 1


def test_proxies_of_the_environment_are_not_used(
    server: Server, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.request("POST").status == 200


def test_a_proxy_that_was_asked_for_is_used(server: Server, open_client: Open) -> None:
    env = {"MLOG_REMOTE_PROXY": f"http://127.0.0.1:{server.port}"}
    own = open_client("http://far.example/x", env=env)
    assert own.request("POST").status == 200
    assert server.requests[0].target == "http://far.example/x"


@pytest.mark.parametrize(
    "answer",
    [hang_up, raw(b"SSH-2.0-OpenSSH\r\n"), raw(b""), raw(b"HTTP/1.1 200 OK\r\nco")],
)
def test_what_is_no_reply_is_an_error(
    server: Server, client: HttpClient, answer: object
) -> None:
    server.usual = answer  # type: ignore[assignment]
    with pytest.raises(HttpError, match="no answer from http"):
        client.request("POST")


def test_nobody_is_there(open_client: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = open_client(f"http://127.0.0.1:{port}")
    with pytest.raises(HttpError, match="refused") as error:
        own.request("POST")
    assert not error.value.blocked


def test_a_name_nobody_knows(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again later: the name server may be away, the address right."""

    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(HttpError, match="not known") as error:
        open_client("http://nowhere.test").request("POST")
    assert not error.value.blocked


def test_a_name_server_that_does_not_answer_meets_the_deadline(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's look-up has no deadline of its own."""
    over = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        over.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(HttpError, match="in time") as error:
            open_client("http://nowhere.test", deadline=0.2).request("POST")
    finally:
        over.set()
    assert not error.value.blocked


def test_each_address_of_a_name_is_tried(
    server: Server, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` is often `::1` first, where nobody listens."""
    look_up = socket.getaddrinfo

    def both(host: str, *others: Any, **options: Any) -> Any:
        if host != "two.test":
            return look_up(host, *others, **options)
        port = others[0]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    own = open_client(server.url.replace("127.0.0.1", "two.test"))
    assert own.request("POST").status == 200


def test_hostile_text_is_shown_safely(server: Server, open_client: Open) -> None:
    """A reply cannot act on a terminal, fill the screen, or give the token away."""
    text = f"\x1b[2J{SECRET} pass-word\n".encode() + b"\xff" + b"x" * 10_000
    server.usual = reply(400, text)
    own = open_client(server.url, auth=lambda: {"k": SECRET}, secrets=["pass-word"])
    shown = own.request("POST").text
    assert shown.startswith("\\x1b[2J*** ***")
    assert "\n" not in shown
    assert len(shown) < 300
    assert excerpt("a\nb\u202ec") == "a\\nb\\u202ec"


def test_an_error_gives_no_credentials_away(server: Server, open_client: Open) -> None:
    """A token that is no header's value is not sent, and not shown."""
    own = open_client(server.url, auth=lambda: {"authorization": "a\r\nX-Evil: 1"})
    with pytest.raises(HttpError, match="header authorization") as error:
        own.request("POST")
    assert "Evil" not in str(error.value)
    assert server.requests == []


# --- a body as a file ------------------------------------------------------------------


def test_a_body_is_a_file(server: Server, client: HttpClient) -> None:
    """It is read as it comes, in the pieces that the reader likes."""
    server.usual = reply(200, bytes(range(256)) * 1000, {"X-Thing": "1"})
    with client.open("GET") as answer, io.BufferedReader(answer) as file:
        assert (answer.status, answer.headers["x-thing"]) == (200, "1")
        assert file.read(3) == b"\0\1\2"
        assert len(file.read()) == 255_997
        assert file.read(1) == b""
    assert client.request("GET").status == 200


def test_a_file_larger_than_it_may_be(server: Server, client: HttpClient) -> None:
    server.usual = reply(200, bytes(200_000))
    with (
        client.open("GET", max_bytes=100_000) as answer,
        pytest.raises(HttpError, match="more than 100,000 bytes"),
    ):
        answer.read()


def test_a_file_that_breaks_off(server: Server, client: HttpClient) -> None:
    """Half a file is never taken for a whole one."""
    server.usual = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"x" * 10)
    with client.open("GET") as answer, pytest.raises(HttpError, match="no answer"):
        answer.readall()


def test_a_file_that_stops_coming(server: Server, client: HttpClient) -> None:
    """A long deadline for a large file does not mean to wait for nothing so long."""
    over = threading.Event()

    def stall(request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nxy")
        over.wait(60)

    server.usual = stall
    try:
        with client.open("GET", deadline=1e6, silence=0.2) as answer:
            assert answer.read(2) == b"xy"
            with pytest.raises(HttpError, match="in time"):
                answer.read(1)
    finally:
        over.set()


# --- Retry-After -----------------------------------------------------------------------

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 1e7, usegmt=True), 3600.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("NaN", None),
        ("inf", None),
        ("soon", None),
        ("٣", None),
        ("Fri, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    value: str | None, seconds: float | None
) -> None:
    """Both forms of RFC 9110; nonsense counts as none, and an hour is the most."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    found = parse_retry_after(value, NOW)
    assert found is None or (math.isfinite(found) and 0 <= found <= 3600)


# --- TLS -----------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve TLS with a certificate of its own; gives the address and the file."""
    made = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)

    def accept() -> tuple[socket.socket, object]:
        while True:
            connection, peer = plain()
            try:
                return context.wrap_socket(connection, server_side=True), peer
            except OSError:  # whoever does not trust us hangs up
                continue

    listener = socket.create_server(("127.0.0.1", 0))
    secure = Server(listener)
    secure.usual = reply(200)
    plain = listener.accept
    secure.listener = _Accepting(listener, accept)  # type: ignore[assignment]
    thread = threading.Thread(target=secure.serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}", made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


class _Accepting:
    def __init__(self, listener: socket.socket, accept: object) -> None:
        self.accept = accept
        self.getsockname = listener.getsockname


def make_certificate(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1 that it signs itself."""
    import subprocess

    file = folder / "server.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -days 2 "
        f"-keyout {folder}/key -out {folder}/crt"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command to make a certificate")
    file.write_bytes((folder / "key").read_bytes() + (folder / "crt").read_bytes())
    return file


def test_tls_is_verified(tls: tuple[str, Path], open_client: Open) -> None:
    """A certificate nobody vouches for is no certificate; nothing is sent."""
    own = open_client(tls[0])
    with pytest.raises(HttpError, match=r"TLS with .*self.signed") as error:
        own.request("POST")
    assert error.value.blocked


def test_ssl_cert_file_is_honoured(
    tls: tuple[str, Path], open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    env = {"MLOG_REMOTE_CERT": str(certificate)}
    for settings in ({}, env):
        assert open_client(url, env=settings).request("POST").status == 200
    other = open_client(url.replace("127.0.0.1", "localhost"))
    with pytest.raises(HttpError, match="mismatch"):
        other.request("POST")
