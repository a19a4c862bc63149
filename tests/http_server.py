"""A real HTTP server that does what it is told, good and bad."""

import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

Head = dict[str, str]


@dataclass
class Request:
    """One request as it came."""

    method: str
    target: str
    headers: Head
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        return [line for line in self.content.split(b"\n") if line]

    @property
    def content(self) -> bytes:
        coding = self.headers.get("content-encoding", "")
        if coding == "gzip":
            return zlib.decompress(self.body, 31)
        if coding == "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().decompress(self.body)
        return self.body

    @property
    def seqs(self) -> list[int]:
        return [orjson.loads(line)["seq"] for line in self.lines]


Answer = Callable[["Request", socket.socket], None]


def reply(status: int, body: bytes = b"", headers: Head | None = None) -> Answer:
    """Answer with a status."""

    def answer(request: Request, connection: socket.socket) -> None:
        head = {"content-length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        text = f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1")
        connection.sendall(text + body)

    return answer


def hang_up(request: Request, connection: socket.socket) -> None:
    """Take the request and answer nothing: the reply is lost."""
    connection.shutdown(socket.SHUT_RDWR)


def raw(*pieces: bytes) -> Answer:
    """Answer with these bytes, then close."""

    def answer(request: Request, connection: socket.socket) -> None:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client has had enough
            pass

    return answer


@dataclass
class Server:
    """An HTTP/1.1 server in a thread.

    Attributes:
        requests: All that were read, those of lost replies included.
        taken: Those that were answered with success, or whose reply was lost.
        script: What to do with the next requests; then `usual`.
        usual: What to do otherwise.
        poison: Lines for which a request is answered by 400.
    """

    listener: socket.socket
    requests: list[Request] = field(default_factory=list)
    taken: list[Request] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)
    usual: Answer = field(default_factory=lambda: reply(200))
    poison: set[bytes] = field(default_factory=set)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    def lines(self) -> list[bytes]:
        return [line for request in self.taken for line in request.lines]

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            file = connection.makefile("rb")
            while True:
                try:
                    request = _read(file)
                except (OSError, ValueError):
                    return
                if request is None:
                    return
                self.requests.append(request)
                answer = self.script.pop(0) if self.script else self.usual
                if self.poison and self.poison & set(request.lines):
                    answer = reply(400, b"bad entry")
                if answer is hang_up or answer is self.usual:
                    self.taken.append(request)
                try:
                    answer(request, connection)
                except OSError:
                    return


def _read(file: Any) -> Request | None:
    first = file.readline()
    if not first:
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers: Head = {}
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    body = file.read(length)
    if len(body) < length:  # the client was killed; no server takes half a request
        return None
    return Request(method, target, headers, body)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server that takes everything."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Server(listener)
    made.usual = reply(200)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)
