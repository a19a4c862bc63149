"""HTTP as sinks use it: a client of a target, and what a reply means for a batch."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from mlog.http import Auth, HttpClient, Reply, basic, excerpt, parse_retry_after
from mlog.shipping.sink import Outcome, SendResult, Target

__all__ = ["bearer", "client_of", "pieces_of", "result_of"]

_PIECE = 1 << 20

_OUTCOMES: Mapping[int, Outcome] = {
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504, 507, 509, 529), "retry"),
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 410, 421, 451, 501, 505), "blocked"),
    413: "too_large",
}


def client_of(
    target: Target,
    *,
    auth: Auth | None = None,
    deadline: float = 30.0,
    max_reply: int = 1 << 16,
) -> HttpClient:
    """Return a client of a target; nothing is connected before the first request.

    Args:
        target: Whose `url` and `env` count.
        auth: Gives credentials. Default: `bearer(target)`.
        deadline: Seconds for a whole request, unless a request says otherwise.
        max_reply: Bytes of a reply that are read.

    Raises:
        MlogError: The address, the proxy or a certificate is none.
    """
    return HttpClient(
        target.url,
        target.env,
        auth=auth or bearer(target),
        secrets=target.login or (),
        deadline=deadline,
        max_reply=max_reply,
    )


def bearer(target: Target) -> Auth:
    """Return the usual credentials of a target: its login, else its token."""

    def headers() -> Mapping[str, str]:
        if target.login is not None:
            return basic(*target.login)
        token = target.token()
        return {"authorization": f"Bearer {token}"} if token else {}

    return headers


def result_of(
    reply: Reply, *, delivered: Iterable[int] = (200, 201, 202, 204)
) -> SendResult:
    """Say what a status means where a protocol does not say otherwise.

    Args:
        reply: The reply.
        delivered: The statuses that mean success; other 2xx count as `retry`.
    """
    if reply.status in delivered:
        return SendResult("delivered")
    detail = reply.text
    error = f"HTTP {reply.status}" + (f": {detail}" if detail else "")
    if 300 <= reply.status < 400:
        where = excerpt(reply.headers.get("location", ""), reply.secrets)
        return SendResult("blocked", f"{error}; redirects are not followed ({where})")
    outcome = _OUTCOMES.get(reply.status)
    if outcome is None:
        outcome = "refused" if 400 <= reply.status < 500 else "retry"
    wait = parse_retry_after(reply.headers.get("retry-after"), time.time())
    return SendResult(outcome, error, wait)


def pieces_of(source: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file, as the body of a request.

    Raises:
        OSError: The file has become shorter, so that the request is broken off.
    """
    left = size
    while left:
        piece = source.read(min(_PIECE, left))
        if not piece:
            raise OSError("the file has become shorter while it was sent")
        left -= len(piece)
        yield piece
