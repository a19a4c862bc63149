"""A real HTTP server that does what it is told, good and bad; runs to be sent."""

import fcntl
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

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
            return zstandard.ZstdDecompressor().decompress(self.body)
        return self.body

    @property
    def seqs(self) -> list[int]:
        return [orjson.loads(line)["seq"] for line in self.lines]


Answer = Callable[["Request", socket.socket], None]


def reply(
    status: int, body: bytes = b"", headers: Head | None = None
) -> Callable[[Request, socket.socket], None]:
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


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that takes everything."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Server(listener)
    made.usual = reply(200)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def make_run(run_dir: Path) -> Iterator[Callable[..., Path]]:
    """Write a run's folder by hand: so many metrics and log lines.

    Of a run that has not ended the writer lives until the test's end: its lock is held;
    unless it was killed.
    """
    locks = []

    def make(
        run_id: str = "r1",
        *,
        metrics: int = 10,
        logs: int = 10,
        ended: bool = True,
        killed: bool = False,
        experiment: str = "exp",
    ) -> Path:
        folder = run_dir / experiment / run_id
        folder.mkdir(parents=True, mode=0o700)
        seq = iter(range(1 << 30))
        events = [
            entry(next(seq), event="writer.start", data={"run": run_id, "attempt": 1}),
            entry(next(seq), event="run.start", data={"experiment": experiment}),
        ]
        points = [
            entry(next(seq), level="INFO", logger="t", step=n, metric={"loss": n / 2})
            for n in range(metrics)
        ]
        lines = [
            entry(next(seq), level="DEBUG" if n % 2 else "INFO", logger="t", msg=f"{n}")
            for n in range(logs)
        ]
        if not ended and not killed:
            locks.append(open(folder / ".lock", "wb"))
            fcntl.flock(locks[-1], fcntl.LOCK_EX)
        if ended:
            events.append(
                entry(next(seq), event="run.end", data={"status": "Completed"})
            )
            last = next(seq)
            data = {"last": last, "status": "Completed"}
            events.append(entry(last, event="writer.end", data=data))
        for name, found in (("events", events), ("metrics", points), ("logs", lines)):
            if found:
                (folder / f"{name}.jsonl").write_bytes(b"".join(found))
        return folder

    yield make
    for lock in locks:
        lock.close()


def entry(seq: int, **rest: Any) -> bytes:
    """Return the line of an entry."""
    minute, second = divmod(seq % 3600, 60)
    ts = f"2026-11-23T18:{minute:02d}:{second:02d}.{seq % 1_000_000:06d}Z"
    return orjson.dumps({"ts": ts, "seq": seq, **rest}) + b"\n"


def all_lines(folder: Path) -> list[bytes]:
    """Return all whole lines of a run."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        found += whole.split(b"\n") if whole else []
    return found
