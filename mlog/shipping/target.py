"""From a sink's URL and the environment to a `Target`. Pure.

    mlflow+https://user:password@host:5000/base?level=INFO&rank=all
    └─ kind ┘└──────────── url ───────────────┘ └ ours ──┘ └ the sink's own

| parameter | meaning | default |
|---|---|---|
| `level` | lowest level of log lines that are sent | all that was recorded |
| `streams` | what to send of `logs,metrics,events` | all that the sink takes |
| `name` | names the sink in cursors and messages | made from the address |
| `token_…` | where the bearer token comes from; see `tokens` | `MLOG_REMOTE_TOKEN` |
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from mlog.errors import MlogError
from mlog.layout import slug
from mlog.run.remote import cuts_password
from mlog.secret_words import Kind, kind_of
from mlog.shipping.sink import ALL_STREAMS, Target
from mlog.shipping.tokens import PARAMETERS, Token, token_of
from mlog.types import Stream

__all__ = ["Route", "parse_route"]

_OWN = ("level", "streams", "name", *PARAMETERS)
_MAX_NAME = 80
_OPEN = (Kind.OTHER, Kind.ORDINARY)
_UNREADABLE = (
    "host and port cannot be told apart; in a password write / as %2F, ? as %3F, "
    "# as %23, @ as %40; in a path @ as %40"
)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class Route:
    """A target, and what of a run goes there.

    Attributes:
        target: Where to.
        level: Number of the lowest level sent; 0 for all. Metrics and events pass.
        streams: What is sent, as far as the sink takes it.
    """

    target: Target
    level: int = 0
    streams: frozenset[Stream] = ALL_STREAMS


def parse_route(
    url: str,
    *,
    env: Mapping[str, str],
    token: Token | None = None,
    level: str | None = None,
) -> Route:
    """Take a sink's URL apart.

    Args:
        url: As above. A path without a scheme is a folder: `file://`.
        env: Environment variables.
        token: Gives the bearer token, before what URL and environment say.
        level: Stands before the URL's own.

    Raises:
        MlogError: The URL says something that is not understood. The message shows
            none of its credentials.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_cut = cuts_password(parts)
    except ValueError:  # the message may have a part of a password
        is_cut = True
    if is_cut:
        raise MlogError(f"not a sink's URL: {_UNREADABLE}")
    if not parts.scheme or (len(parts.scheme) == 1 and parts.scheme.isalpha()):
        raise MlogError(
            "a sink's URL begins with its scheme, like "
            "https://host/path, mlflow+https://host or file:///folder"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {key: query.pop(key) for key in _OWN if key in query}
    kind, plus, scheme = parts.scheme.rpartition("+")
    kind = kind if plus else scheme
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((scheme, host, parts.path, "", ""))
    target = Target(
        kind=kind,
        url=address,
        query=query,
        name=_name(own.get("name"), kind, address, query),
        token=token or token_of(own, env),
        login=_login(parts.username, parts.password),
        env=env,
    )
    chosen = level or own.get("level")
    return Route(target, _level(chosen), _streams(own.get("streams")))


def _name(given: str | None, kind: str, url: str, query: Mapping[str, str]) -> str:
    """Name a sink so that two do not share a cursor, and a new secret is no new sink."""
    if given:
        return slug(given)[:_MAX_NAME]
    open_ = sorted((k, v) for k, v in query.items() if kind_of(k) in _OPEN)
    digest = hashlib.sha256(repr((kind, url, open_)).encode()).hexdigest()[:8]
    readable = _NOT_PLAIN.sub("-", f"{kind}-{url.partition('://')[2]}")
    return f"{readable[: _MAX_NAME - 9].rstrip('._-')}-{digest}"


def _login(user: str | None, password: str | None) -> tuple[str, str] | None:
    if user is None and password is None:
        return None
    return unquote(user or ""), unquote(password or "")


def _level(text: str | None) -> int:
    if text is None:
        return 0
    number = logging.getLevelNamesMapping().get(text.upper())
    if number is None and text.isascii() and text.isdigit():
        number = int(text[:9])
    if number is None:
        raise MlogError(
            f"level must be a number or a name like INFO, got {text[:40]!r}"
        )
    return number


def _streams(text: str | None) -> frozenset[Stream]:
    if text is None:
        return ALL_STREAMS
    names = frozenset(filter(None, (part.strip() for part in text.split(","))))
    if not names or not names <= ALL_STREAMS:
        raise MlogError(
            f"streams must be some of logs,metrics,events, got {text[:40]!r}"
        )
    return cast(frozenset[Stream], names)
