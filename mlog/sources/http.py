"""Asking a server for what is to be imported, carefully.

- A request has a total deadline, however slowly the server sends; replies have a size
  limit; nothing is decompressed. Only the server that was named is asked: redirects are
  errors.
- 429, 502, 503, 504 and lost connections are tried again, after what `Retry-After`
  says, or after longer and longer waits.
- Credentials come from the environment; they stand in no address and in no message.

The only file that imports httpx.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from urllib.parse import urlsplit

import orjson

from mlog.errors import MlogError
from mlog.escaping import inline

__all__ = ["Client", "HTTPError"]

_TRIES = 5
_AGAIN = frozenset((429, 502, 503, 504))
_LONGEST_WAIT = 60.0
_MAX_REPLY = 64 << 20
_MAX_TEXT = 300
_SLOWEST = 32 << 10  # bytes a second that a file may take
_LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))


class HTTPError(MlogError):
    """A server refused, or did not answer as it should.

    Attributes:
        status: Of the reply; 0 without one.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        """Keep what happened."""
        super().__init__(text)
        self.status = status


class Client:
    """Talks to one server. Used by one thread.

    Attributes:
        url: The server's address, without a slash at its end.
    """

    def __init__(
        self,
        url: str,
        env: Mapping[str, str],
        *,
        timeout: float = 60.0,
        transport: Any = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Begins with http:// or https://.
            env: Where `MLFLOW_TRACKING_USERNAME` and `…_PASSWORD`, or
                `MLFLOW_TRACKING_TOKEN`, are looked for.
            timeout: Seconds that a request may take in all.
            transport: Of httpx; for tests.
            sleep: Waits so many seconds. None: `time.sleep`.

        Raises:
            ValueError: The address is none, or has a user or password in it.
        """
        import httpx  # only here: it loads slowly

        self.url = _checked(url)
        self._timeout, self._sleep = timeout, sleep or time.sleep
        self._httpx: Any = httpx
        headers = {"Accept-Encoding": "identity", "User-Agent": "mlog"}
        auth: Any = None
        user, token = env.get("MLFLOW_TRACKING_USERNAME"), env.get(_TOKEN)
        if user:
            auth = httpx.BasicAuth(user, env.get("MLFLOW_TRACKING_PASSWORD", ""))
        elif token:
            headers["Authorization"] = f"Bearer {token.strip()}"
        self._has_credentials = bool(user or token)
        self._has_answered = False  # whoever never did is not asked again
        try:
            self._client = httpx.Client(
                headers=headers,
                auth=auth,
                timeout=min(timeout, 30.0),
                follow_redirects=False,
                transport=transport,
            )
        except (ValueError, UnicodeError):  # its message has the header in it
            raise ValueError(
                f"{_TOKEN} is no token: it has characters that a header cannot have"
            ) from None

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._client.close()

    @property
    def is_open_wire(self) -> bool:
        """Whether credentials go unencrypted over a network."""
        parts = urlsplit(self.url)
        is_plain = parts.scheme == "http" and parts.hostname not in _LOCAL
        return self._has_credentials and is_plain

    def get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object that a GET is answered with; see `_ask`."""
        return self._ask("GET", path, params=dict(params))

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object that a POST of JSON is answered with."""
        return self._ask("POST", path, json=dict(content))

    @contextmanager
    def stream(
        self, path: str, params: Mapping[str, Any], max_bytes: int
    ) -> Iterator[BinaryIO]:
        """Give a file to read from; reading raises HTTPError where it ends too early.

        Args:
            path, params: Of the request.
            max_bytes: How much it may be.

        Raises:
            HTTPError: The server does not give it.
        """
        response, _ = self._send("GET", path, params=dict(params))
        limit = self._timeout + max_bytes / _SLOWEST
        body = _Body(self, response, max_bytes, time.monotonic() + limit)
        try:
            yield cast(BinaryIO, body)
        finally:
            response.close()

    # --- inside --------------------------------------------------------------------

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the JSON object of a reply.

        Raises:
            HTTPError: The server refuses, is not there, or answers something else.
        """
        response, deadline = self._send(method, path, **options)
        try:
            content = _Body(self, response, _MAX_REPLY, deadline).read()
        finally:
            response.close()
        try:
            found = orjson.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HTTPError(f"{self.url}{path} answered no JSON object: is it MLflow?")
        return found

    def _send(self, method: str, path: str, **options: Any) -> tuple[Any, float]:
        """Return a reply whose body was not read yet, and until when it may be.

        Raises:
            HTTPError: There is none, or it is no success.
        """
        for attempt in range(_TRIES):
            deadline = time.monotonic() + self._timeout
            request = self._client.build_request(method, self.url + path, **options)
            try:
                response = self._begin(request, deadline)
            except HTTPError:
                gives_up = attempt + 1 == _TRIES or self._client.is_closed
                if gives_up or not self._has_answered:
                    raise
                self._sleep(2.0**attempt)
                continue
            self._has_answered = True
            if response.status_code in _AGAIN and attempt + 1 < _TRIES:
                wait = _retry_after(response.headers) or 2.0**attempt
                response.close()
                self._sleep(min(wait, _LONGEST_WAIT))
                continue
            if response.status_code != 200:
                raise self._refused(path, response, deadline)
            return response, deadline
        raise AssertionError("unreachable")

    def _begin(self, request: Any, deadline: float) -> Any:
        """Send a request and wait for the head of the reply, at most until a time.

        httpx limits each single read; a server that sends a byte now and then could
        keep it for ever. So it is waited for from outside.
        """
        found: list[Any] = []

        def send() -> None:
            try:
                found.append(self._client.send(request, stream=True))
            except Exception as exc:
                found.append(exc)

        thread = threading.Thread(target=send, name="mlog-import", daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()))
        if not found:
            self._client.close()  # breaks the connection, and so ends the thread
            raise HTTPError(f"{self.url} did not answer within {self._timeout:g} s")
        if isinstance(found[0], Exception):
            raise self._lost(found[0]) from None
        return found[0]

    def _lost(self, error: Exception) -> HTTPError:
        """Return what a failure of httpx means, without its address."""
        if isinstance(error, self._httpx.TimeoutException):
            return HTTPError(f"{self.url} did not answer in time")
        text = inline(str(error))[:_MAX_TEXT] or type(error).__name__
        return HTTPError(f"{self.url} cannot be reached: {text}")

    def _refused(self, path: str, response: Any, deadline: float) -> HTTPError:
        """Return the error that a reply stands for."""
        status = int(response.status_code)
        try:
            content = _Body(self, response, 1 << 16, deadline).read()
        except HTTPError:
            content = b""
        finally:
            response.close()
        where = f"{self.url}{path}"
        if 300 <= status < 400:
            target = urlsplit(response.headers.get("Location", "")).netloc or "?"
            text = (
                f"{where} redirects to {inline(target)}; give the address it leads to"
            )
            return HTTPError(text, status)
        text = _message(content)
        if status == 401 or (status == 403 and "Host header" not in text):
            text = f"{text}; " if text else ""
            names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            have = "are they right?" if self._has_credentials else "neither is set"
            hint = f"{text}credentials come from {_TOKEN}, or {names}: {have}"
            return HTTPError(f"{where} refused ({status}): {hint}", status)
        return HTTPError(f"{where} answered {status}: {text or 'nothing more'}", status)


_TOKEN = "MLFLOW_TRACKING_TOKEN"


class _Body:
    """The body of a reply as a file, within a deadline and a size."""

    def __init__(
        self, client: Client, response: Any, max_bytes: int, deadline: float
    ) -> None:
        self._client, self._max, self._deadline = client, max_bytes, deadline
        self._chunks = response.iter_raw()  # a size would gather until it is reached
        self._buffer = bytearray()
        self._taken = 0
        self._is_done = False

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or fewer at the end."""
        while not self._is_done and (size < 0 or len(self._buffer) < size):
            self._fill()
        count = len(self._buffer) if size < 0 else size
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    def _fill(self) -> None:
        try:
            chunk = next(self._chunks, None)
        except Exception as exc:  # whatever httpx makes of a broken connection
            raise self._client._lost(exc) from None
        if time.monotonic() > self._deadline:
            raise HTTPError(f"{self._client.url} sends too slowly")
        if chunk is None:
            self._is_done = True
            return
        self._taken += len(chunk)
        if self._taken > self._max:
            raise HTTPError(f"the reply has more than {self._max:,} bytes")
        self._buffer += chunk


def _checked(url: str) -> str:
    """Return an address that requests can be made of.

    Raises:
        ValueError: It is none, or has credentials in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "the address has a user or password in it; put them into the variables "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"expected an address like http://host:5000, got {url!r}")
    if parts.query or parts.fragment:
        raise ValueError("the server's address has no '?' and no '#' in it")
    return url.rstrip("/")


def _retry_after(headers: Any) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text[:6]) if text.isascii() and text.isdigit() else None


def _message(content: bytes) -> str:
    """Return what a reply says of an error, on one line."""
    try:
        found = orjson.loads(content)
        text = found.get("message") if isinstance(found, dict) else None
    except ValueError:
        text = content.decode("utf-8", "replace")
    return inline(text.strip())[:_MAX_TEXT] if isinstance(text, str) else ""
