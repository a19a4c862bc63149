"""Secrets out of what a script prints, fast enough for a flood.

`Redactor.text` looks for some thirty words, which is nothing for a line and too much for
a hundred megabytes a second. Each secret that it finds by itself has one of `SIGNS` in
its own line, so bytes without any are let through as a whole; only lines near a sign
are looked at one by one. A private key goes over several lines: that is remembered.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache

from mlog.entry import Redacts
from mlog.redaction import Redactor

__all__ = ["SIGNS", "Cleaner"]

SIGNS = (
    *(b"pass", b"token", b"secret", b"key", b"auth", b"pwd", b"cred", b"cookie"),
    *(b"hook", b"conn", b"sig=", b"hf_", b"npm_", b"k_live_", b"github_pat_"),
    *(b"ghp_", b"gho_", b"ghs_", b"ghu_", b"ghr_", b"sk-", b"glpat-", b"xox"),
    *(b"pypi-", b"-----begin ", b"://", b"akia", b"asia", b"aiza", b"eyj", b"sg."),
    *(b"dapi", b"earer "),
)
"""Small letters of which each secret has some in its line; checked by the tests."""

_BLOCK = 8_192
_KEY_BEGIN = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,9} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
)
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_KEY_LINES = re.compile(r"(?:[ \t]*+(?:[A-Za-z0-9+/=]{16,}+)?[ \t]*+\r?\n)*+")
_LAST_KEY_LINE = 80


class Cleaner:
    """Takes the secrets out of one stream. For one thread at a time."""

    def __init__(self, redactor: Redacts | None) -> None:
        """Prepare; with None nothing is taken out."""
        self._redactor = redactor
        own = type(redactor) is Redactor and not redactor.additions
        self._signs = SIGNS if own else ()
        self._is_in_key = False

    def lets_through(self, raw: bytes) -> bool:
        """Whether there is certainly no secret in bytes, which is cheap to say."""
        if self._redactor is None:
            return True
        return bool(self._signs) and not self._is_in_key and not _has_any(raw.lower())

    def clean(self, raw: bytes) -> bytes:
        """Return bytes without secrets, and otherwise exactly as they are.

        Args:
            raw: Whole lines, or a part of one.
        """
        redactor = self._redactor
        if redactor is None or self.lets_through(raw):
            return raw
        if not self._signs or self._is_in_key or b"-----BEGIN " in raw:
            return self._whole(raw, redactor)
        if len(raw) <= _BLOCK:
            return _apply(redactor.text, raw)
        return b"".join(_by_line(redactor, block) for block in _blocks(raw))

    def _whole(self, raw: bytes, redactor: Redacts) -> bytes:
        """Search a text of several lines as one, with the rest of a key before it."""
        text = raw.decode("utf-8", "surrogateescape")
        if self._is_in_key:
            text = self._behind_key(text)
        begins = list(_KEY_BEGIN.finditer(text))
        if begins and not _KEY_END.search(text, begins[-1].end()):
            self._is_in_key = True
        return redactor.text(text).encode("utf-8", "surrogateescape")

    def _behind_key(self, text: str) -> str:
        """Return what comes behind the lines of a key that began earlier."""
        end = _KEY_END.search(text)
        lines = _KEY_LINES.match(text)
        assert lines is not None  # it matches nothing, too
        if end is not None and end.start() - lines.end() <= _LAST_KEY_LINE:
            self._is_in_key = False
            return text[end.end() :]
        self._is_in_key = lines.end() == len(text)
        return text[lines.end() :]


def _by_line(redactor: Redacts, block: bytes) -> bytes:
    if not _has_any(block.lower()):
        return block
    lines = block.decode("utf-8", "surrogateescape").split("\n")
    text = "\n".join(map(redactor.text, lines))
    return text.encode("utf-8", "surrogateescape")


def _apply(change: Callable[[str], str], raw: bytes) -> bytes:
    text = raw.decode("utf-8", "surrogateescape")
    clean = change(text)
    return raw if clean is text else clean.encode("utf-8", "surrogateescape")


def _blocks(raw: bytes) -> Iterator[bytes]:
    """Yield blocks of whole lines."""
    start = 0
    while start < len(raw):
        end = raw.find(b"\n", start + _BLOCK) + 1 or len(raw)
        yield raw[start:end]
        start = end


def _has_any(small: bytes) -> bool:
    """Whether bytes in small letters hold one of `SIGNS`."""
    search = _c_search()
    if search is None or b"\0" in small:
        found = [word for word in SIGNS if word in small]
    else:
        found = [word for word in SIGNS if search(small, word)]
    return bool(found) and _counts(small, found)


def _counts(small: bytes, found: list[bytes]) -> bool:
    """Whether words are more than tokens of text, and addresses without a password."""
    if b"token" in found:  # most lines that say so count them
        small = small.replace(b"tokens", b"").replace(b"tokeniz", b"")
        if b"token" not in small:
            found.remove(b"token")
    if b"://" in found and b"@" not in small:
        found.remove(b"://")
    return bool(found)


@cache
def _c_search() -> Callable[[bytes, bytes], int | None] | None:
    """Return the C library's `strstr` (Linux): 30 times as fast as `in`.

    It ends at a NUL, so it is for bytes without one.
    """
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        strstr = ctypes.CDLL(None).strstr
    except (ImportError, AttributeError, OSError):
        return None
    strstr.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    strstr.restype = ctypes.c_void_p
    return strstr
