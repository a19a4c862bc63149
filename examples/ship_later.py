"""Train where there is no network, send the run afterwards: each entry arrives once.

The server is a stand-in for Vector, Fluent Bit, Logstash or a service of your own.
"""

import gzip
import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlog

received: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    """Takes NDJSON by POST."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keep the lines of one batch."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        received.extend(body.splitlines())
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


logger = logging.getLogger("train")
with mlog.start_run("ship-later", params={"lr": 0.1}) as run:
    for step in range(1000):
        logger.info(metric={"loss": 1 / (1 + step)}, step=step)
    logger.info("done")

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/logs?name=example"

ship = [sys.executable, "-m", "mlog", "ship", str(run.path), "--to", url]
subprocess.run(ship, check=True)
subprocess.run(ship, check=True)  # there is nothing left to send
subprocess.run([*ship[:4], str(run.path), "--status"], check=True)
server.shutdown()

recorded = sum(len(path.read_bytes().splitlines()) for path in run.path.glob("*.jsonl"))
print(f"{recorded} entries recorded, {len(received)} received")
