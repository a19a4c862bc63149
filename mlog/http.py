"""A careful HTTP client: one host, one deadline, a reply of limited size, no detours.

What servers and networks do wrong ends in a `Reply` or an `HttpError` in bounded time
and memory:

- A request has a deadline for all of it together, the look-up of the host's name too; a
  server that drips bytes meets it.
- Of a reply at most so many bytes are read, as they come: asked for is the identity
  coding, and what comes coded all the same is not decoded.
- A redirect is a reply like another. Every request goes to the host of the address.
- TLS is verified, with the system's settings (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
- Proxies of the environment are not used; `MLOG_REMOTE_PROXY` names one.
- Credentials are asked for each request, and are shown in no repr, error or reply.

| variable | meaning | default |
|---|---|---|
| `MLOG_REMOTE_PROXY` | URL of a proxy to go through | none |
| `MLOG_REMOTE_CERT` | file with client certificate and key, PEM | none |

The only file that imports httpx and httpcore.
"""

import base64
import io
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlencode

import httpcore
import httpx
import orjson

from mlog.errors import MlogError
from mlog.escaping import inline

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "CERTIFICATE",
    "Answer",
    "Auth",
    "HttpClient",
    "HttpError",
    "Query",
    "Reply",
    "basic",
    "excerpt",
    "parse_retry_after",
]

CERTIFICATE = "MLOG_REMOTE_CERT"
"""Names the variable for the client certificate, which is for one server."""

_MAX_SHOWN = 200
_LONGEST_WAIT = 3600.0
_PIECE = 1 << 16
_CLEAN_HEADER = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

_QUERY = "/?%:@!$&'()*+,;=~"  # what stays as it is in a query

Query: TypeAlias = Mapping[str, str] | str
"""Parameters by name, or as they stand in an address behind the `?`."""

Auth = Callable[[], Mapping[str, str]]
"""Gives the headers that prove who is asking; called for each request."""


class HttpError(MlogError):
    """There is no reply: not reached, no answer in time, no HTTP.

    Attributes:
        blocked: Whether it will stay so until somebody changes something (TLS).
    """

    def __init__(self, message: str, *, blocked: bool = False) -> None:
        """Say what happened, without credentials."""
        super().__init__(message)
        self.blocked = blocked


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered.

    Attributes:
        status: The status code.
        headers: By lower-case name; of several with one name the last.
        body: The beginning, at most `max_reply` bytes, not decoded.
        cut: Whether there was more.
        secrets: Texts that must not be shown.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def json(self) -> Any:
        """Return the content as JSON; None for what is none."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """The content as one short line that is safe to show."""
        return excerpt(self.body.decode("utf-8", "replace"), self.secrets)


def excerpt(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a hostile text as one short line, with secrets masked."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = inline(text.strip())
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of a login by name and password."""
    pair = f"{user}:{password}".encode()
    return {"authorization": "Basic " + base64.b64encode(pair).decode()}


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for.

    Args:
        value: The header's value: seconds, or an HTTP date. None: there is none.
        now: Seconds since the epoch, for the date.

    Returns:
        0 to 3600; None for what is no such value.

    Source: RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    wait = moment - now
    return min(max(wait, 0.0), _LONGEST_WAIT) if math.isfinite(wait) else None


class Answer(io.RawIOBase):
    """What a server answers, its body still to be read: a file, read from once.

    Reading raises `HttpError` where the body ends too early, does not come in time, or
    has more bytes than it may.

    Attributes:
        status: The status code.
        headers: By lower-case name; of several with one name the last.
        secrets: Texts that must not be shown.
    """

    def __init__(
        self,
        response: httpcore.Response,
        opened: ExitStack,
        error: Callable[[Exception], HttpError],
        secrets: tuple[str, ...],
        max_bytes: int | None,
    ) -> None:
        """Take a response of httpcore, and what `close` closes."""
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        self.secrets = secrets
        self._opened = opened
        self._error = error
        self._max_bytes = max_bytes
        self._pieces = self._read_pieces(response)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Put what is there, or comes next, into a buffer; 0 at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def reply(self, max_bytes: int) -> Reply:
        """Read at most so many bytes; where there is more, the rest is not read."""
        found = bytearray(self._rest)
        for piece in self._pieces:
            found += piece
            if len(found) > max_bytes:
                break
        is_cut = len(found) > max_bytes
        body = bytes(found[:max_bytes])
        return Reply(self.status, self.headers, body, is_cut, self.secrets)

    def close(self) -> None:
        """Give the connection back, or close it where there is more to come."""
        self._opened.close()
        super().close()

    def _read_pieces(self, response: httpcore.Response) -> Iterator[bytes]:
        pieces, count = response.iter_stream(), 0
        while True:
            try:
                piece = next(pieces, None)
            except _HTTP_ERRORS as exc:
                raise self._error(exc) from exc
            if piece is None:
                return
            count += len(piece)
            if self._max_bytes is not None and count > self._max_bytes:
                raise HttpError(f"the reply has more than {self._max_bytes:,} bytes")
            if piece:
                yield piece


class HttpClient:
    """Sends requests to one address, on connections that are kept.

    For one thread, and one request after the other: the deadline is that of the last.
    Not to be used in a forked child of the process that made it.
    """

    def __init__(
        self,
        url: str,
        env: Mapping[str, str],
        *,
        auth: Auth = dict,
        secrets: Iterable[str] = (),
        deadline: float = 30.0,
        max_reply: int = 1 << 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is connected before the first request.

        Args:
            url: The address; all paths are below its path.
            env: Where the variables of the table above are looked for.
            auth: Gives credentials. Default: none.
            secrets: Texts that are never shown, beside those of `auth`.
            deadline: Seconds for a whole request, unless a request says otherwise.
            max_reply: Bytes of a reply that are read.
            clock: Gives seconds that only grow.

        Raises:
            MlogError: The address, the proxy or a certificate is none.
        """
        self._base = _base_url(url)
        self._auth = auth
        self._secrets = tuple(secrets)
        self._deadline = deadline
        self._max_reply = max_reply
        self._wire = _Wire(clock)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(self._base, env),
            proxy=_proxy(env),
            max_connections=2,
            keepalive_expiry=20.0,
            network_backend=self._wire,
        )

    def request(
        self,
        method: str,
        path: str = "",
        *,
        content: bytes | Iterable[bytes] = b"",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        secrets: Iterable[str] = (),
    ) -> Reply:
        """Send a request and read the reply.

        Args:
            method: GET, POST, PUT, …
            path: Added to that of the address; quoted where it needs it.
            content: The body; with pieces give a `content-length` header, too.
            query: Parameters; a text goes as it is, quoted where it has to be.
            headers: Further headers.
            deadline: Seconds for all of it together.
            secrets: Further texts of this request that are never shown.

        Raises:
            HttpError: There is no reply; nobody knows whether the request was read.
        """
        with self.open(
            method,
            path,
            content=content,
            query=query,
            headers=headers,
            deadline=deadline,
            secrets=secrets,
        ) as answer:
            return answer.reply(self._max_reply)

    def open(
        self,
        method: str,
        path: str = "",
        *,
        content: bytes | Iterable[bytes] = b"",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        silence: float = math.inf,
        max_bytes: int | None = None,
        secrets: Iterable[str] = (),
    ) -> Answer:
        """Send a request; return when the head of the reply is here.

        The answer must be closed.

        Args:
            method, path, content, query, headers, secrets: As for `request`.
            deadline: Seconds for all of it together, with the reading of the body.
            silence: Seconds that may pass without a byte.
            max_bytes: Of the body. None: no limit.

        Raises:
            HttpError: There is no reply; nobody knows whether the request was read.
        """
        own = dict(self._auth())
        masked = _secrets([*own.values(), *self._secrets, *secrets])
        given = {
            "host": self._base.netloc.decode("ascii"),
            "accept-encoding": "identity",
            "user-agent": "mlog",
            **{name.lower(): value for name, value in (headers or {}).items()},
            **own,
        }
        if isinstance(content, bytes):
            given["content-length"] = str(len(content))
        _check_headers(given)
        target = self._target(path, query)

        def error(exc: Exception) -> HttpError:
            return self._error(exc, masked)

        self._wire.start(self._deadline if deadline is None else deadline, silence)
        opened = ExitStack()
        try:
            request = self._pool.stream(
                method,
                target,
                headers=[
                    (k.encode("latin-1"), v.encode("latin-1")) for k, v in given.items()
                ],
                content=_pieces(content),
                extensions={"timeout": self._wire.timeouts()},
            )
            response = opened.enter_context(request)
        except _HTTP_ERRORS as exc:
            raise error(exc) from exc
        return Answer(response, opened, error, masked, max_bytes)

    def close(self) -> None:
        """Close all connections; may be called twice."""
        self._pool.close()

    def _target(self, path: str, query: Query | None) -> httpcore.URL:
        own = self._base.raw_path.decode("ascii").partition("?")[0]
        if path:
            own = (
                own.rstrip("/") + "/" + quote(path.lstrip("/"), safe="/%:@!$&'()*+,;=~")
            )
        if isinstance(query, str):
            own += "?" + quote(query, safe=_QUERY)
        elif query:
            own += "?" + urlencode(query)
        return httpcore.URL(
            scheme=self._base.raw_scheme,
            host=self._base.raw_host,
            port=self._base.port,
            target=own.encode("ascii"),
        )

    def _error(self, exc: Exception, secrets: tuple[str, ...]) -> HttpError:
        where = f"{self._base.scheme}://{self._base.netloc.decode('ascii')}"
        if isinstance(exc, httpcore.TimeoutException | TimeoutError):
            return HttpError(f"no answer from {where} in time")
        detail = excerpt(str(exc) or type(exc).__name__, secrets)
        tls = _has_tls_error(exc)
        what = "TLS with" if tls else "no answer from"
        return HttpError(f"{what} {where}: {detail}", blocked=tls)


_HTTP_ERRORS = (
    httpcore.ConnectError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,
)


# --- the deadline --------------------------------------------------------------------


class _Wire(httpcore.NetworkBackend):
    """Gives each operation on a socket no more than what is left of the deadline.

    httpx and httpcore have timeouts for each operation only: a server that sends a byte
    now and then would never meet one.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = 0.0
        self._silence = math.inf
        self._sockets = httpcore.SyncBackend()

    def start(self, deadline: float, silence: float) -> None:
        self._end = self._clock() + deadline
        self._silence = silence

    def left(self) -> float:
        left = self._end - self._clock()
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return min(left, self._silence)

    def timeouts(self) -> dict[str, float]:
        left = self.left()
        return dict.fromkeys(("connect", "read", "write", "pool"), left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = _addresses(host, port, self.left())
        for address in others:
            part = self.left() / 2  # one that is silent leaves time for the others
            try:
                stream = self._sockets.connect_tcp(
                    address, port, part, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            return _Stream(stream, self)
        stream = self._sockets.connect_tcp(
            last, port, self.left(), local_address, socket_options
        )
        return _Stream(stream, self)


def _addresses(host: str, port: int, seconds: float) -> list[str]:
    """Look up a host's addresses, one or more, in no more than so many seconds.

    The system's resolver knows no deadline: it is asked in a thread, which is left
    behind when it does not answer in time.
    """
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return [host]
    found: list[str] = []
    failed: list[Exception] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            failed.append(exc)
        else:
            found.extend(str(answer[4][0]) for answer in answers)

    thread = threading.Thread(target=look_up, name="mlog-look-up", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise httpcore.ConnectTimeout("the look-up of the host's name")
    if failed or not found:
        raise httpcore.ConnectError(*map(str, failed))
    return found


class _Stream(httpcore.NetworkStream):
    """A socket under the deadline of a `_Wire`."""

    def __init__(self, stream: httpcore.NetworkStream, wire: _Wire) -> None:
        self._stream = stream
        self._wire = wire

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._wire.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), _PIECE):
            piece = bytes(view[start : start + _PIECE])
            self._stream.write(piece, self._wire.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._wire.left())
        return _Stream(stream, self._wire)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


# --- what is given -------------------------------------------------------------------


def _base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as exc:
        raise MlogError(f"no address: {excerpt(text)!r}") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise MlogError(f"expected http://host or https://host, got {excerpt(text)!r}")
    return url


def _tls(url: httpx.URL, env: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return what TLS connections are made with; None where there are none."""
    if url.scheme != "https":
        return None
    context = httpx.create_ssl_context()
    certificate = env.get(CERTIFICATE)
    if certificate:
        try:
            context.load_cert_chain(certificate)
        except OSError as exc:  # ssl.SSLError is one
            raise MlogError(
                f"{CERTIFICATE} must name a PEM file with certificate and key: {exc}"
            ) from exc
    return context


def _proxy(env: Mapping[str, str]) -> httpcore.Proxy | None:
    given = env.get("MLOG_REMOTE_PROXY")
    if not given:
        return None
    try:
        url = httpx.URL(given)
        login = (url.username, url.password) if url.username else None
        return httpcore.Proxy(
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"
            ),
            auth=login,
        )
    except (httpx.InvalidURL, ValueError) as exc:
        raise MlogError("MLOG_REMOTE_PROXY is no URL like http://proxy:3128") from exc


def _secrets(values: Iterable[str]) -> tuple[str, ...]:
    """Return what must not be shown of credentials: values, and tokens in them."""
    found = [part for value in values for part in (value, value.split(" ")[-1])]
    return tuple(
        sorted({text for text in found if len(text) > 3}, key=len, reverse=True)
    )


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if _CLEAN_HEADER.fullmatch(value) is None:
            raise HttpError(f"the value of header {name} is none", blocked=True)


def _pieces(content: bytes | Iterable[bytes]) -> bytes | Iterator[bytes]:
    return content if isinstance(content, bytes) else iter(content)


def _has_tls_error(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
