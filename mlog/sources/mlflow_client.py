"""Asking a server of MLflow for what is to be imported, carefully.

- A request has a total deadline, however slowly the server sends; replies have a size
  limit; redirects are errors. See `mlog.http`.
- 429, 502, 503, 504 and lost connections are tried again, after what `Retry-After`
  says, or after longer and longer waits.
- Credentials come from the environment; they stand in no address and in no message.
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

import orjson

from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.http import (
    CERTIFICATE,
    Answer,
    HttpClient,
    HttpError,
    Reply,
    basic,
    excerpt,
    parse_retry_after,
)

__all__ = ["Client", "ServerError", "credentials_of"]

_TRIES = 5
_AGAIN = frozenset((429, 502, 503, 504))
_LONGEST_WAIT = 60.0
_LONGEST_SILENCE = 30.0
_MAX_REPLY = 64 << 20
_MAX_REFUSAL = 1 << 16
_SLOWEST = 32 << 10  # bytes a second that a file may take
_LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_TOKEN = "MLFLOW_TRACKING_TOKEN"


class ServerError(MlogError):
    """A server refused, or did not answer as it should.

    Attributes:
        status: Of the reply; 0 without one.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        """Keep what happened."""
        super().__init__(text)
        self.status = status


def credentials_of(env: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that MLflow's own variables stand for; {} without them."""
    user, password = env.get(_USER), env.get(_PASSWORD)
    if user and password:
        return basic(user, password)
    token = env.get(_TOKEN, "").strip()
    return {"authorization": f"Bearer {token}"} if token else {}


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
        deadline: float = 60.0,
        max_reply: int = _MAX_REPLY,
        sleep: Callable[[float], object] | None = None,
        credentials: bool = True,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Begins with http:// or https://.
            env: Where `MLFLOW_TRACKING_USERNAME` and `…_PASSWORD`, or
                `MLFLOW_TRACKING_TOKEN`, are looked for, and what `mlog.http` needs.
            deadline: Seconds that a request may take in all; a file gets more.
            max_reply: Bytes that a reply may have; a file says its own.
            sleep: Waits so many seconds. None: `time.sleep`.
            credentials: Whether those of the environment are used. Without them an
                address is its own proof, and secret: what a refusal says is not shown.

        Raises:
            ValueError: The address is none, or has a user or password in it; the token
                is none.
            MlogError: The proxy or the certificate of the environment is none.
        """
        self.url = _checked(url)
        self._env = env
        self._deadline, self._max_reply = deadline, max_reply
        self._sleep = sleep or time.sleep
        self._beside: dict[tuple[str, bool], Client] = {}
        headers = credentials_of(env) if credentials else {}
        if not all(text.isascii() and text.isprintable() for text in headers.values()):
            raise ValueError(
                f"{_TOKEN} is no token: it has characters that a header cannot have"
            )
        self._uses_credentials = credentials
        self._has_credentials = bool(headers)
        self._has_answered = False  # whoever never did is not asked again
        secrets = [env.get(_PASSWORD, "")]
        self._client = HttpClient(
            self.url, env, auth=lambda: headers, secrets=secrets, deadline=deadline
        )

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
        for other in self._beside.values():
            other._client.close()
        self._client.close()

    def beside(self, url: str, *, credentials: bool = True) -> "Client":
        """Return a client of another address, otherwise like this; closed with it.

        Args:
            url: As for a new one, like `credentials`.
            credentials: Whether those of the environment are used.

        Raises:
            ValueError: The address is none.
        """
        key = url, credentials
        if key not in self._beside:
            self._beside[key] = Client(
                url,
                self._env if credentials else _without_certificate(self._env),
                deadline=self._deadline,
                max_reply=self._max_reply,
                sleep=self._sleep,
                credentials=credentials,
            )
        return self._beside[key]

    @property
    def is_open_wire(self) -> bool:
        """Whether credentials go unencrypted over a network."""
        parts = urlsplit(self.url)
        is_plain = parts.scheme == "http" and parts.hostname not in _LOCAL
        return self._has_credentials and is_plain

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object that a GET is answered with.

        Raises:
            ServerError: The server refuses, is not there, or answers something else.
        """
        return self._object(path, self._opened("GET", path, query))

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object that a POST of JSON is answered with; see `get`."""
        return self._object(path, self._opened("POST", path, {}, orjson.dumps(content)))

    @contextmanager
    def stream(
        self,
        path: str,
        query: Mapping[str, Any] | str,
        max_bytes: int,
        *,
        secrets: Iterable[str] = (),
    ) -> Iterator[BinaryIO]:
        """Give a file to read from.

        Args:
            path, query: Of the request.
            max_bytes: How much it may be.
            secrets: Texts of the request that are never shown.

        Raises:
            ServerError: The server does not give it, or not all of it; also when read.
        """
        seconds = self._deadline + max_bytes / _SLOWEST
        answer = self._opened(
            "GET",
            path,
            query,
            deadline=seconds,
            max_bytes=max_bytes,
            secrets=secrets,
        )
        with answer, io.BufferedReader(answer) as file:
            try:
                yield file
            except HttpError as exc:
                raise ServerError(str(exc)) from exc

    # --- inside --------------------------------------------------------------------

    def _object(self, path: str, answer: Answer) -> dict[str, Any]:
        """Read a JSON object."""
        with answer:
            try:
                found = answer.reply(self._max_reply).json()
            except HttpError as exc:
                raise ServerError(str(exc)) from exc
        if not isinstance(found, dict):
            raise ServerError(
                f"{self.url}{path} answered no JSON object: is it MLflow?"
            )
        return found

    def _opened(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | str,
        content: bytes = b"",
        *,
        deadline: float | None = None,
        max_bytes: int | None = None,
        secrets: Iterable[str] = (),
    ) -> Answer:
        """Return a success whose body is still to be read.

        Raises:
            ServerError: There is none.
        """
        for wait in (*(2.0**n for n in range(_TRIES - 1)), None):
            try:
                answer = self._client.open(
                    method,
                    path,
                    content=content,
                    query=query if isinstance(query, str) else _texts(query),
                    headers={"content-type": "application/json"} if content else {},
                    deadline=deadline,
                    silence=_LONGEST_SILENCE,
                    max_bytes=self._max_reply if max_bytes is None else max_bytes,
                    secrets=secrets,
                )
            except HttpError as exc:
                if wait is None or not self._has_answered:
                    raise ServerError(str(exc)) from exc
                self._sleep(wait)
                continue
            self._has_answered = True
            if answer.status == 200:
                return answer
            with answer:
                if wait is None or answer.status not in _AGAIN:
                    raise self._refused(path, answer)
            self._sleep(_asked_wait(answer) or wait)
        raise AssertionError("unreachable")

    def _refused(self, path: str, answer: Answer) -> ServerError:
        """Return the error that an answer stands for."""
        status, where = answer.status, f"{self.url}{path}"
        if 300 <= status < 400:
            target = urlsplit(answer.headers.get("location", "")).netloc or "?"
            text = f"redirects to {inline(target)}; give the address it leads to"
            return ServerError(f"{where} {text}", status)
        if not self._uses_credentials:
            code = answer.headers.get("x-ms-error-code", "")[:64]
            told = code if code.isascii() and code.isalnum() else "nothing to be shown"
            return ServerError(f"{self.url} answered {status}: {told}", status)
        try:
            text = _message(answer.reply(_MAX_REFUSAL))
        except HttpError:
            text = ""
        if status == 401 or (status == 403 and "Host header" not in text):
            text = f"{text}; " if text else ""
            have = "are they right?" if self._has_credentials else "neither is set"
            names = f"{_TOKEN}, or {_USER} and {_PASSWORD}"
            hint = f"{text}credentials come from {names}: {have}"
            return ServerError(f"{where} refused ({status}): {hint}", status)
        return ServerError(
            f"{where} answered {status}: {text or 'nothing more'}", status
        )


def _without_certificate(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name != CERTIFICATE}


def _texts(query: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items()}


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
            f"{_USER} and {_PASSWORD} instead"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"expected an address like http://host:5000, got {url!r}")
    if parts.query or parts.fragment:
        raise ValueError("the server's address has no '?' and no '#' in it")
    return url.rstrip("/")


def _asked_wait(answer: Answer) -> float | None:
    """Return what a busy server asks for, but not more than we have patience for."""
    wait = parse_retry_after(answer.headers.get("retry-after"), time.time())
    return None if wait is None else min(wait, _LONGEST_WAIT)


def _message(reply: Reply) -> str:
    """Return what a reply says of an error, on one line."""
    found = reply.json()
    if found is None:
        return reply.text
    text = found.get("message") if isinstance(found, dict) else None
    return excerpt(text, reply.secrets) if isinstance(text, str) else ""
