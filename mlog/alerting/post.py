"""`python -m mlog.alerting.post`: send one message, told by JSON on stdin.

A process of its own, started for each alert: the address of a webhook goes through a
pipe, and the program that trains waits for nothing.
"""

import os
import sys
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import orjson

from mlog.errors import MlogError
from mlog.http import HttpClient

__all__ = ["main", "post"]

_DEADLINE = 20.0


def post(url: str, body: bytes, headers: dict[str, str]) -> None:
    """POST a message.

    Raises:
        MlogError: There is no answer, or none of success. The address is not shown.
    """
    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    client = HttpClient(base, os.environ, deadline=_DEADLINE)
    try:
        reply = client.request(
            "POST", parts.path, query=query, content=body, headers=headers
        )
    finally:
        client.close()
    if not 200 <= reply.status < 300:
        raise MlogError(f"the webhook answered {reply.status}: {reply.text}")


def main() -> None:
    """Send what stdin says; exit code 1 with one line where it fails."""
    order = orjson.loads(sys.stdin.buffer.read())
    try:
        post(order["url"], order["body"].encode(), order["headers"])
    except MlogError as exc:
        sys.exit(f"{exc}")


if __name__ == "__main__":
    main()
