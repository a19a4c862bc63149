"""Secrets are taken out of texts, fields and command lines before they are written.

Two signs give a secret away, and nothing else does:

- **Its shape**: well-known tokens (`TOKENS`) are found anywhere in a text.
- **Its name**: the whole name of a field decides, as a key of a mapping or before a
  value in a text: `password=…`, `"api_key": "…"`, `--token …`. A name of `STRONG`
  hides any string, one of `FILE` any but a path. One of `WEAK` (`token`, `auth`) has
  ordinary meanings too, so it hides only what looks like a credential. Numbers,
  booleans and None are never hidden by name.

Only the secret is replaced, by `REDACTED`; names, hosts and users stay readable. A
text is searched only if it holds a word that each kind of secret must contain, so a
usual line pays less than a microsecond. No pattern tries a long stretch twice: the
time grows with the length of a text, whatever the text is.

This is a net for accidents. A secret with neither sign passes through it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mlog.secret_words import TOKENS, Kind, kind_of, normal_name

__all__ = ["REDACTED", "Redactor", "make_redactor"]

REDACTED = "***"
"""Stands where a secret was. Free of letters, so it is valid in a URL and in JSON."""

_MAX_NAME = 64
_MAX_ROUNDS = 4
_SHORTEST_TOKEN = 16
_PLAIN = frozenset((int, float, bool, type(None)))


class _Late:
    """A pattern that is compiled when it is first used: a run's start need not wait."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._given = pattern, flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(*self._given)
        for method in ("finditer", "fullmatch", "match", "sub"):
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


# A name with what joins it to its value. `\"` is a quote in JSON within JSON; the word
# before the name makes "api key: …" one name. An option may also stand off its value,
# alone or as an item of a printed list.
_NAME = _Late(
    r"""
    (?<![A-Za-z0-9_.-])
    (?: (?P<option>--[A-Za-z][A-Za-z0-9_.-]*+) ["']?,?[ \t]++ (?![-=:])
      | (?: (?P<before>[A-Za-z]++)[ ](?=[A-Za-z0-9_-]) )?+
        (?P<name>[A-Za-z0-9_.-]++) \\{0,7}["']? [ \t]*+ (?:=>|:=|==|=|:) [ \t]*+
    )
    """,
    re.VERBOSE,
)

# An item of a command line that is a name, or what stands before its `=`.
_ARGUMENT = _Late(r"[-+~]*+[A-Za-z][A-Za-z0-9_.-]*+")

# What follows a strong name: a string, a list of strings or a bare value. That one ends
# at a blank, at a quote, and at & , or ; if it ends the text or another name follows.
# A `"` before , or } closes an earlier string: no value. One without partner was cut.
# `***@` is the password of a URL, out already.
_VALUE = _Late(
    r"""
    (?: [bru]? (?P<quote>\\{0,7}["']) (?![,:}\])]++(?:\s|$))
        (?: (?P<quoted>[^\r\n]*?) (?<!\\)(?P=quote) | (?P<open>[^\r\n]++) )
    | \[ (?P<items> (?: \* | [bru]?\\{0,7}["'] ) [^\]\r\n]*+ )
    | (?! [\[{(] \s*+ (?: \\*+["'\[{(\]})] | $ ) | \*{3}@ )
      (?: (?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256) [ \t]++ )?+
      (?P<bare>
        [^\s"'&,;]*+
        (?:
          (?: [&,;] (?! [\s&,;)\]}"'] | $ | [a-z0-9_.-]*+["']?[=:] )
            | ["'] (?=[a-z0-9]) )
          [^\s"'&,;]*+
        )*+
      )
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)

# What follows a weak name, if it may be a credential. It holds neither = nor : inside,
# so that what one name tries no other tries again.
_CREDENTIAL = _Late(
    r"""
    (?: [bru]? \\{0,7}["'] )?
    (?P<secret> [A-Za-z0-9_+%] [A-Za-z0-9_.+/~%-]{15,}+ ={0,2} )
    (?! [^\s"'&,;)\]}\\<] )
    """,
    re.VERBOSE,
)

# What a name that may mean a file may hold. Without = and :, so that no name is in it.
_PATH = _Late(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\s=:;,]*")

# Values that hide nothing: no value, a flag, a small number, a word of a sentence.
_NO_SECRET = _Late(
    r"|\*+|none|null|nil|true|false|[-+]?\d{0,3}(?:\.\d+)?"
    r"|(?:is|was|are|and|or|to|of|for|in|with|if|not|option|required|missing|invalid)"
    r"[.:!?]?",
    re.IGNORECASE,
)

# A header whose value goes on over blanks, to the end of its line or string.
_LONG_HEADER = _Late(
    r"(?<![A-Za-z])(?:"
    r"cookie:[ \t]*+(?=[^\s=:\"']++=)"
    r"|authorization:[ \t]*+(?:digest|aws4-hmac-sha256)[ \t]++(?=[^\s=:\"']++=)"
    r")(?P<secret>[^\r\n'\\]++)",
    re.IGNORECASE,
)


# Two tests that a usual line passes without a hit. A chain of `in` is ugly and the
# fastest there is: 30 ns a word, where one compiled pattern of all the words takes
# 1.5 µs on a line of 50 characters.


def _may_name_secret(text: str) -> bool:
    """Say whether a text holds a word of the secret names, and what joins a value."""
    if "=" not in text and ":" not in text and "--" not in text:
        return False
    small = text.lower()
    if "token" in small:  # but most lines that say so count tokens of text
        small = small.replace("tokens", " s").replace("tokeniz", " iz")
    return (
        "pass" in small
        or "token" in small
        or "secret" in small
        or "key" in small
        or "auth" in small
        or "pwd" in small
        or "cred" in small
        or "cookie" in small
        or "hook" in small
        or "conn" in small
        or "sig=" in small
    )


_GITHUB = ("ghp_", "gho_", "ghs_", "ghu_", "ghr_")


def _may_hold_token(text: str) -> bool:
    """Say whether a text holds the literal of one of `TOKENS`."""
    if "_" in text and (
        "hf_" in text
        or "npm_" in text
        or "k_live_" in text
        or "github_pat_" in text
        or ("gh" in text and any(map(text.__contains__, _GITHUB)))
    ):
        return True
    if "-" in text and (
        "sk-" in text
        or "glpat-" in text
        or "xox" in text
        or "pypi-" in text
        or "-----BEGIN " in text
    ):
        return True
    if "://" in text and ("@" in text or "hook" in text):
        return True
    return (
        "AKIA" in text
        or "ASIA" in text
        or "AIza" in text
        or "eyJ" in text
        or "SG." in text
        or "dapi" in text
        or "earer " in text
    )


def _looks_secret(value: str) -> bool:
    """Say whether what `_CREDENTIAL` matched is more than a word or a path."""
    if not any(map(str.isdigit, value)) or not any(map(str.isalpha, value)):
        return False
    if "/" not in value:
        return True
    base64 = not any(char in value for char in "_.~%-")
    return base64 and len(value) >= 24 and value.lower() != value != value.upper()


class Redactor:
    """Takes secrets out of what is about to be written.

    Safe from any thread: it keeps no state but `count`. Its input is never changed.

    Attributes:
        count: How many values were hidden so far. Approximate when several threads
            hide something at the same moment.
    """

    def __init__(
        self,
        *,
        names: Iterable[str] = (),
        patterns: Iterable[str | re.Pattern[str]] = (),
        keep: Iterable[str] = (),
    ) -> None:
        """Set up the built-in tables and what the caller adds to them.

        Args:
            names: Further names whose string values are hidden. Regular expressions
                for the whole name, capitals or not; `my-key` and `myKey` are also
                found as `my_key`. With any, each line with `=` or `:` is searched.
            patterns: Further shapes of secrets in texts, searched in every text. The
                whole match is hidden, or only its group `secret` if it has one.
            keep: Names that are never touched, written like `names`. They win.

        Raises:
            ValueError: If one of them is no regular expression.
        """
        self.count = 0
        self._names = _compile_all("names", names)
        self._keep = _compile_all("keep", keep)
        self._patterns = tuple(_compile("patterns", each) for each in _items(patterns))

    @property
    def additions(self) -> dict[str, list[str]]:
        """What the caller added, as `Redactor(**additions)` takes it in any process."""
        added = {
            "names": [_written(each) for each in self._names],
            "patterns": [_written(each) for each in self._patterns],
            "keep": [_written(each) for each in self._keep],
        }
        return {key: each for key, each in added.items() if each}

    def text(self, text: str) -> str:
        """Hide the secrets in a text, by shape and by the names before them.

        Args:
            text: A message, a traceback, JSON, a URL or its query, a command line.

        Returns:
            The text with `REDACTED` in place of each secret; the same object if there
            is none.
        """
        named = _may_name_secret(text) or bool(self._names)
        shaped = _may_hold_token(text)
        if not named and not shaped and not self._patterns:
            return text
        for _ in range(_MAX_ROUNDS):  # taking one out may uncover what was glued to it
            clean = self._hide_once(text, named=named, shaped=shaped)
            if clean == text:
                break
            text = clean
        return text

    def field(self, name: str, value: Any) -> Any:
        """Hide the value of a field if its name says so, else the secrets within.

        Args:
            name: The field's name; the whole name counts, not a part of it.
            value: Anything. Only str and bytes are looked at.

        Returns:
            `REDACTED` (as bytes for bytes), the value without its secrets, or the
            value itself.
        """
        if isinstance(value, bytes):
            as_text = value.decode("latin-1")
            clean = self.field(name, as_text)
            return value if clean is as_text else clean.encode("latin-1")
        if not isinstance(value, str) or self._is_kept(name):
            return value
        if self._is_secret(self._kind(name), value):
            self.count += 1
            return REDACTED
        return self.text(value)

    def fields(self, fields: Any) -> Any:
        """Hide the secrets in JSON-ready values, however deep they lie.

        Strings in a list under a secret name are hidden too. A tuple comes back as a
        list, any other object as it is.

        Args:
            fields: Mapping, list, string or number; usually a dict of fields.

        Returns:
            A copy without secrets.
        """
        return self._within("", fields)

    def argv(self, argv: Sequence[str]) -> list[str]:
        """Hide the secrets of a command line.

        Known are `--password x`, `--token=x`, `hub.token=x`, and what `text` finds in
        each item. The value of `--token` is hidden whatever it looks like.

        Args:
            argv: The items, as in `sys.argv`.

        Returns:
            A new list of the same length.
        """
        clean: list[str] = []
        awaited = Kind.OTHER
        for item in argv:
            if awaited is not Kind.OTHER and not item.startswith("-"):
                clean.append(self._hide_whole(awaited, item))
                awaited = Kind.OTHER
                continue
            name, equals, value = item.partition("=")
            if equals and _is_name(name) and not self._is_kept(name):
                kind = self._option_kind(name)
                clean.append(name + equals + self._hide_whole(kind, value))
            else:
                clean.append(self.text(item))
            is_option = item.startswith("-") and not equals and _is_name(item)
            awaited = self._option_kind(item) if is_option else Kind.OTHER
        return clean

    def _hide(self, match: re.Match[str]) -> str:
        """Return what was matched with its secret replaced."""
        group = "secret" if "secret" in match.re.groupindex else 0
        secret, found = match[group], match[0]
        if not secret or secret == REDACTED:
            return found
        self.count += 1
        start, end = (place - match.start() for place in match.span(group))
        return found[:start] + REDACTED + found[end:]

    def _hide_once(self, text: str, *, named: bool, shaped: bool) -> str:
        for pattern in self._patterns:
            text = pattern.sub(self._hide, text)
        if shaped:
            text = self._hide_tokens(text)
        return self._hide_named(text) if named else text

    def _hide_tokens(self, text: str) -> str:
        """Replace what is known by its shape."""
        for _, literal, pattern in TOKENS:
            if literal in text:
                text = re.sub(pattern, self._hide, text)
        return text

    def _hide_named(self, text: str) -> str:
        """Replace the values that stand behind secret names."""
        if "ookie:" in text or "uthorization:" in text:
            text = _LONG_HEADER.sub(self._hide, text)
        parts: list[str] = []
        done = 0
        for match in _NAME.finditer(text):
            if match.start(match.lastgroup or 0) < done:
                continue  # within a value that is out already
            span = self._secret_after(match)
            if span is not None:
                parts += text[done : span[0]], REDACTED
                done = span[1]
                self.count += 1
        return "".join(parts) + text[done:] if parts else text

    def _secret_after(self, match: re.Match[str]) -> tuple[int, int] | None:
        """Return where the secret lies that belongs to a match of `_NAME`."""
        name, before = match["option"] or match["name"], match["before"]
        kind = self._option_kind(name)
        if before and kind in (Kind.OTHER, Kind.WEAK):
            kind = self._stronger(kind, f"{before} {name}")
        if kind is Kind.WEAK:
            found = _CREDENTIAL.match(match.string, match.end())
            is_secret = found is not None and _looks_secret(found["secret"])
            return found.span("secret") if found and is_secret else None
        if kind in (Kind.STRONG, Kind.FILE):
            value, span = _value_at(match.string, match.end())
            return span if self._is_secret(kind, value) else None
        return None

    def _stronger(self, kind: Kind, longer: str) -> Kind:
        """Return the kind of a longer form of a name, unless it says nothing."""
        other = self._kind(longer)
        return kind if other is Kind.OTHER else other

    def _within(self, name: str, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if isinstance(value, dict):
            return {self._key(key): self._within(str(key), value[key]) for key in value}
        if isinstance(value, list | tuple):
            return [self._within(name, each) for each in value]
        return self.field(name, value)  # the name of a list holds for its items

    def _key(self, key: Any) -> Any:
        """Return a key of a mapping, which may be a token itself."""
        is_long = isinstance(key, str) and len(key) >= _SHORTEST_TOKEN
        return self.text(key) if is_long else key

    def _hide_whole(self, kind: Kind, value: str) -> str:
        if not self._is_secret(kind, value):
            return self.text(value)
        self.count += 1
        return REDACTED

    def _is_secret(self, kind: Kind, value: str) -> bool:
        if kind is Kind.STRONG:
            return _NO_SECRET.fullmatch(value) is None
        if kind is Kind.FILE:
            return not (_NO_SECRET.fullmatch(value) or _PATH.fullmatch(value))
        if kind is not Kind.WEAK or len(value) < _SHORTEST_TOKEN:
            return False
        found = _CREDENTIAL.fullmatch(value)
        return found is not None and _looks_secret(found["secret"])

    def _kind(self, name: str) -> Kind:
        """Return what a name says. The end of a very long one is enough."""
        name = name[-_MAX_NAME:]
        if self._keep and _any_match(self._keep, name):
            return Kind.ORDINARY
        if self._names and _any_match(self._names, name):
            return Kind.STRONG
        return kind_of(name)

    def _option_kind(self, name: str) -> Kind:
        """Return the kind of a name; a program's `--token` means access, not text."""
        kind = self._kind(name)
        is_token = kind is Kind.WEAK and name.lower() == "--token"
        return Kind.STRONG if is_token else kind

    def _is_kept(self, name: str) -> bool:
        return bool(self._keep) and _any_match(self._keep, name)


def make_redactor(spec: bool | Redactor | Iterable[str]) -> Redactor | None:
    """Return the redactor that a `redact=` argument asks for.

    Args:
        spec: True for the built-in tables, False for none at all, names to hide
            besides the built-in ones, or a redactor.

    Returns:
        The redactor, or None if it is switched off.

    Raises:
        ValueError: If a name is no regular expression.
    """
    if isinstance(spec, Redactor):
        return spec
    if isinstance(spec, bool):
        return Redactor() if spec else None
    return Redactor(names=spec)


def _value_at(text: str, start: int) -> tuple[str, tuple[int, int]]:
    """Return the value that stands behind a strong name, and where it lies."""
    found = _VALUE.match(text, start)
    group = found.lastgroup if found else None
    if found is None or group is None:
        return "", (start, start)
    value = found[group]
    if group == "bare":  # brackets around the pair, and the `\` of a `\"`, are not its
        closers = "\\" if any(map(value.__contains__, "([{")) else ")]}\\"
        value = value.rstrip(closers)
    begin = found.start(group)
    return value, (begin, begin + len(value))


def _is_name(text: str) -> bool:
    return _ARGUMENT.fullmatch(text) is not None


def _any_match(patterns: Sequence[re.Pattern[str]], name: str) -> bool:
    normal = normal_name(name)
    return any(each.fullmatch(name) or each.fullmatch(normal) for each in patterns)


def _items(given: Iterable[Any]) -> tuple[Any, ...]:
    """Return the items; one string alone is one item, not its letters."""
    return (given,) if isinstance(given, str | re.Pattern) else tuple(given)


def _written(pattern: re.Pattern[str]) -> str:
    """Return a pattern as text, with its flags."""
    flags = {"i": re.I, "m": re.M, "s": re.S, "x": re.X, "a": re.A}
    letters = "".join(each for each, flag in flags.items() if pattern.flags & flag)
    return f"(?{letters}){pattern.pattern}" if letters else pattern.pattern


def _compile_all(what: str, given: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(_compile(what, each, re.IGNORECASE) for each in _items(given))


def _compile(
    what: str, given: str | re.Pattern[str], flags: int = 0
) -> re.Pattern[str]:
    if isinstance(given, re.Pattern):
        return given
    try:
        return re.compile(given, flags)
    except re.error as exc:
        raise ValueError(
            f"{what} must be regular expressions, got {given!r}: {exc}"
        ) from exc
