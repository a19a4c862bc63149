"""ClickHouse's engine behind a small imitation of its HTTP interface.

    PYTHON chdb_shim.py FOLDER [USER PASSWORD]

Run by a Python that has `chdb-core`, which is ClickHouse as a library: tables, parsers,
types, deduplication and error texts are the real ones. Only the HTTP around them is
imitated, because no current server can be installed from a package index. It prints the
port that it listens on.
"""

import gzip
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from chdb import session  # type: ignore[import-not-found]

_OF_HTTP = ("query", "database", "wait_end_of_query")
_FORMAT = re.compile(r"\bFORMAT\b", re.IGNORECASE)

engine = session.Session(sys.argv[1])
login = tuple(sys.argv[2:4])
lock = Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers queries as the server does: empty, rows, or an error's text."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed; no server takes half a request
            self.close_connection = True
            return
        names = ("x-clickhouse-user", "x-clickhouse-key")
        if login and tuple(map(self.headers.get, names)) != login:
            self.answer(403, b"Code: 516. DB::Exception: Authentication failed")
            return
        try:
            with lock:
                found = engine.query(self.query(body), "TabSeparated")
                self.answer(200, found.bytes() or b"")
        except Exception as exc:
            self.fail(str(exc))

    def fail(self, text: str) -> None:
        """Answer as the server does to an error of its engine."""
        self.answer(404 if "Code: 60." in text else 500, text.encode())

    def query(self, body: bytes) -> str:
        """Return the statement: the parameter `query`, settings, and the body."""
        coding = self.headers.get("content-encoding")
        if coding == "gzip":
            body = gzip.decompress(body)
        elif coding == "zstd":
            import zstandard

            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        given = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        query = given.get("query", "")
        settings = ", ".join(
            f"{name} = '{value}'"
            for name, value in given.items()
            if name not in _OF_HTTP
        )
        if settings and query:
            query = _FORMAT.sub(f"SETTINGS {settings} FORMAT", query, count=1)
        return f"{query}\n{body.decode()}"

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
sys.stdout.write(f"{server.server_port}\n")
sys.stdout.flush()
server.serve_forever()
