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
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["REDACTED", "Redactor", "make_redactor"]

REDACTED = "***"
"""Stands where a secret was. Free of letters, so it is valid in a URL and in JSON."""

_MAX_NAME = 64
_MAX_ROUNDS = 4
_SHORTEST_TOKEN = 16
_PLAIN = frozenset((int, float, bool, type(None)))


class _Kind(Enum):
    """What a name says about its value."""

    STRONG = "a secret"
    FILE = "a secret, or the path of one"
    WEAK = "a secret if the value looks like one"
    OTHER = "nothing"
    ORDINARY = "not a secret, whatever word stands before the name"


class _Shape(NamedTuple):
    """A token that is known by its looks."""

    what: str
    literal: str  # in every such token; `_may_hold_token` looks for it
    pattern: str  # compiled, and kept by `re`, when a text first needs it


def _shape(what: str, literal: str, pattern: str) -> _Shape:
    return _Shape(what, literal, pattern)


# A token starts where no other word is going on; `\n` written out is no word.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
# The same for tokens that may contain - and _ and must pass a further test: one try
# per run of such characters, or a long run would be tried from each of them.
_ALONE = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"

TOKENS = (
    _shape("AWS key id", "AKIA", _START + r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _shape("AWS temporary id", "ASIA", _START + r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _shape("GitHub", "gh", _START + r"gh[opsur]_[A-Za-z0-9]{30,}+"),
    _shape("GitHub, fine-grained", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,}+"),
    _shape("GitLab", "glpat-", r"glpat-[A-Za-z0-9_-]{20,}+"),
    _shape("Hugging Face", "hf_", _START + r"hf_[A-Za-z0-9]{30,}+"),
    _shape("Slack", "xox", _START + r"xox[abeoprs]-[A-Za-z0-9-]{10,}+"),
    _shape("npm", "npm_", _START + r"npm_[A-Za-z0-9]{30,}+"),
    _shape("PyPI", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{20,}+"),
    _shape("Stripe", "k_live_", _START + r"[rs]k_live_[A-Za-z0-9]{10,}+"),
    _shape("Google API key", "AIza", _START + r"AIza[A-Za-z0-9_-]{30,}+"),
    _shape("Databricks", "dapi", _START + r"dapi[0-9a-f]{32}(?![A-Za-z0-9])(-\d)?"),
    _shape(
        "SendGrid",
        "SG.",
        _ALONE + r"SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+",
    ),
    _shape(  # a digit is asked for: `sk-learn…` and other words have none
        "OpenAI",
        "sk-",
        _ALONE + r"sk-(?=[A-Za-z]*+\d)[A-Za-z0-9]{20,}+",
    ),
    _shape(
        "OpenAI by project, Anthropic, OpenRouter",
        "sk-",
        _ALONE
        + r"sk-(?:proj|svcacct|admin|ant|or)-(?=[A-Za-z_-]*+\d)[A-Za-z0-9_-]{20,}+",
    ),
    _shape(  # three parts when signed, five when encrypted
        "JSON web token",
        "eyJ",
        _ALONE + r"eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){2,4}",
    ),
    _shape(
        "private key",
        "-----BEGIN ",
        r"-----BEGIN (?:[A-Z0-9]{1,9} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"[^-]*+(?:-(?!----)[^-]*+)*+-----END [A-Z0-9 ]{0,40}-----",
    ),
    _shape(  # the end was cut off: what still looks like a key
        "private key without end",
        "-----BEGIN ",
        r"-----BEGIN (?:[A-Z0-9]{1,9} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:\s|\\{1,8}[nr])*+[A-Za-z0-9+/=]{16,}+)++",
    ),
    _shape(
        "Slack webhook",
        "hooks.slack.com/",
        r"hooks\.slack\.com/[a-z]{1,20}/(?P<secret>[A-Za-z0-9_/-]++)",
    ),
    _shape(
        "Discord webhook",
        "/webhooks/",
        r"/api/(?:v\d{1,3}/)?webhooks/\d{1,30}/(?P<secret>[A-Za-z0-9_-]++)",
    ),
    _shape(
        "Teams webhook",
        "webhook.office.com/",
        r"webhook\.office\.com/webhookb2/(?P<secret>[A-Za-z0-9_@/-]++)",
    ),
    _shape(
        "Bearer",
        "earer ",
        r"(?<![A-Za-z])[Bb]earer +"
        r"(?P<secret>(?=[A-Za-z._~+/=-]*+\d)[A-Za-z0-9._~+/=-]{16,}+)",
    ),
    _shape(  # not a port; the password may hold / and @, the user stays
        "password in a URL",
        "://",
        r"://[^\s/:@\"'?#]*+:(?!\d{1,5}(?:[/?#\s]|$))"
        r"(?P<secret>[^\s\"'@]{1,256}+(?:@[^\s\"'/@,;?#]{0,64}+(?=@))*+)@",
    ),
)
"""What is hidden wherever it stands: all of it, or the group `secret`."""


def _any_of(*rows: tuple[str, str]) -> str:
    return "|".join(f"(?:{pattern})" for _, pattern in rows)


# Rows of (what, pattern) for a whole name in the form of `_normal`.
STRONG = _any_of(
    ("passwords", r"[a-z0-9_]*(?:password|passwd|passphrase|passcode)s?(?:_hash)?"),
    ("passwords in two words", r"(?:.*_)?pass_(?:word|phrase|code)"),
    ("passwords, short", r"(?:.*_)?(?:db|user|admin|root|smtp|mysql|pg|redis)_?pass"),
    ("secrets", r"(?:.*_)?secrets?(?:_(?:value|string|text))?"),
    ("keys by use", r"(?:.*_)?(?:api|access|secret|account|storage|shared)_?keys?"),
    ("keys by use", r"(?:.*_)?(?:subscription|master|encryption|decryption)_?keys?"),
    ("keys by use", r"(?:.*_)?(?:auth|consumer|instrumentation|functions?)_?keys?"),
    ("key ids", r"(?:.*_)?access_?key_?id"),
    ("keys by service", r"(?:.*_)?(?:openai|anthropic|azure|aws|wandb|hf)_?key"),
    ("tokens by use", r"(?:.*_)?(?:access|auth|api|refresh|bearer|session)_?token"),
    ("tokens by use", r"(?:.*_)?(?:security|csrf|xsrf|oauth2?|sas|jwt|login)_?token"),
    ("tokens by use", r"(?:.*_)?(?:personal_access|deploy|registry|bot)_?token"),
    ("tokens by service", r"(?:.*_)?(?:hf|hub|huggingface|hugging_face)_?token"),
    ("tokens by service", r"(?:.*_)?(?:gh|github|git|gitlab|git_lab|slack)_?token"),
    ("tokens by service", r"(?:.*_)?(?:discord|telegram|wandb|neptune|comet)_?token"),
    ("tokens by service", r"(?:.*_)?(?:mlflow|mlflow_tracking|databricks)_?token"),
    ("tokens by service", r"(?:.*_)?(?:azure|aws|gcp|google|vault|npm|pypi)_?token"),
    ("tokens by service", r"(?:.*_)?(?:openai|anthropic|replicate|kaggle)_?token"),
    ("headers", r"(?:.*_)?(?:authorization|(?:basic|http)_auth|cookies?)"),
    ("connections", r"(?:.*_)?conn(?:ection)?_?str(?:ing)?"),
    ("webhooks", r"(?:.*_)?webhook(?:_ur[il])?"),
    ("signed URLs", r"x_(?:amz|goog)_signature|shared_access_signature"),
)

FILE = _any_of(
    ("a password, or the working directory", r"(?:.*_)?pwd"),
    (
        "keys kept in files",
        r"(?:.*_)?(?:private|ssh|gpg|signing|deploy|license)_?keys?",
    ),
    ("credentials", r"(?:.*_)?(?:credentials?|creds?)"),
)

WEAK = _any_of(
    ("tokens, of text or of access", r"(?:.*_)?token"),
    ("credentials or methods", r"(?:.*_)?(?:auth|bearer|jwt|sas|pat|sig)"),
    ("passwords or passes over data", r"(?:.*_)?pass"),
)

ORDINARY = _any_of(
    ("tokens of text", r"(?:.*_)?(?:pad|bos|eos|unk|cls|mask|sep|bod|eod|eot)_token"),
    ("tokens of text", r"(?:.*_)?(?:boi|eoi|image|audio|video|blank|word|sub)_token"),
    ("tokens of text", r"(?:.*_)?(?:start|end|stop|special|prefix|suffix)_token"),
    ("tokens of text", r"(?:.*_)?(?:middle|first|last|next|prev|previous)_token"),
    ("tokens of text", r"(?:.*_)?(?:target|source|current|new|per|init)_token"),
    ("tokens of text", r"(?:.*_)?(?:initializer|placeholder|trigger|concept)_token"),
    ("tokens of text", r"(?:.*_)?(?:instance|prompt|query|response|separator)_token"),
)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_JOINTS = re.compile(r"[-. :/]+")


def _normal(name: str) -> str:
    """Return a name in small letters, its words joined by `_`."""
    return _JOINTS.sub("_", _CAMEL.sub("_", name)).lower().strip("_+~")


@lru_cache(maxsize=1024)
def _kind_of(name: str) -> _Kind:
    """Return what the built-in tables say of a name, be it counted or not."""
    normal = _normal(name).rstrip("0123456789").rstrip("_")
    if re.fullmatch(ORDINARY, normal):
        return _Kind.ORDINARY
    if re.fullmatch(STRONG, normal):
        return _Kind.STRONG
    if re.fullmatch(FILE, normal):
        return _Kind.FILE
    return _Kind.WEAK if re.fullmatch(WEAK, normal) else _Kind.OTHER


# A name with what joins it to its value. `\"` is a quote in JSON within JSON; the word
# before the name makes "api key: …" one name. An option may also stand off its value,
# alone or as an item of a printed list.
_NAME = re.compile(
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
_ARGUMENT = re.compile(r"[-+~]*+[A-Za-z][A-Za-z0-9_.-]*+")

# What follows a strong name: a string, a list of strings or a bare value. That one ends
# at a blank, at a quote, and at & , or ; if it ends the text or another name follows.
# A `"` before , or } closes an earlier string: no value. One without partner was cut.
# `***@` is the password of a URL, out already.
_VALUE = re.compile(
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
_CREDENTIAL = re.compile(
    r"""
    (?: [bru]? \\{0,7}["'] )?
    (?P<secret> [A-Za-z0-9_+%] [A-Za-z0-9_.+/~%-]{15,}+ ={0,2} )
    (?! [^\s"'&,;)\]}\\<] )
    """,
    re.VERBOSE,
)

# What a name that may mean a file may hold. Without = and :, so that no name is in it.
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\s=:;,]*")

# Values that hide nothing: no value, a flag, a small number, a word of a sentence.
_NO_SECRET = re.compile(
    r"|\*+|none|null|nil|true|false|[-+]?\d{0,3}(?:\.\d+)?"
    r"|(?:is|was|are|and|or|to|of|for|in|with|if|not|option|required|missing|invalid)"
    r"[.:!?]?",
    re.IGNORECASE,
)

# A header whose value goes on over blanks, to the end of its line or string.
_LONG_HEADER = re.compile(
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
        awaited = _Kind.OTHER
        for item in argv:
            if awaited is not _Kind.OTHER and not item.startswith("-"):
                clean.append(self._hide_whole(awaited, item))
                awaited = _Kind.OTHER
                continue
            name, equals, value = item.partition("=")
            if equals and _is_name(name) and not self._is_kept(name):
                kind = self._option_kind(name)
                clean.append(name + equals + self._hide_whole(kind, value))
            else:
                clean.append(self.text(item))
            is_option = item.startswith("-") and not equals and _is_name(item)
            awaited = self._option_kind(item) if is_option else _Kind.OTHER
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
        if before and kind in (_Kind.OTHER, _Kind.WEAK):
            kind = self._stronger(kind, f"{before} {name}")
        if kind is _Kind.WEAK:
            found = _CREDENTIAL.match(match.string, match.end())
            is_secret = found is not None and _looks_secret(found["secret"])
            return found.span("secret") if found and is_secret else None
        if kind in (_Kind.STRONG, _Kind.FILE):
            value, span = _value_at(match.string, match.end())
            return span if self._is_secret(kind, value) else None
        return None

    def _stronger(self, kind: _Kind, longer: str) -> _Kind:
        """Return the kind of a longer form of a name, unless it says nothing."""
        other = self._kind(longer)
        return kind if other is _Kind.OTHER else other

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

    def _hide_whole(self, kind: _Kind, value: str) -> str:
        if not self._is_secret(kind, value):
            return self.text(value)
        self.count += 1
        return REDACTED

    def _is_secret(self, kind: _Kind, value: str) -> bool:
        if kind is _Kind.STRONG:
            return _NO_SECRET.fullmatch(value) is None
        if kind is _Kind.FILE:
            return not (_NO_SECRET.fullmatch(value) or _PATH.fullmatch(value))
        if kind is not _Kind.WEAK or len(value) < _SHORTEST_TOKEN:
            return False
        found = _CREDENTIAL.fullmatch(value)
        return found is not None and _looks_secret(found["secret"])

    def _kind(self, name: str) -> _Kind:
        """Return what a name says. The end of a very long one is enough."""
        name = name[-_MAX_NAME:]
        if self._keep and _any_match(self._keep, name):
            return _Kind.ORDINARY
        if self._names and _any_match(self._names, name):
            return _Kind.STRONG
        return _kind_of(name)

    def _option_kind(self, name: str) -> _Kind:
        """Return the kind of a name; a program's `--token` means access, not text."""
        kind = self._kind(name)
        is_token = kind is _Kind.WEAK and name.lower() == "--token"
        return _Kind.STRONG if is_token else kind

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
    normal = _normal(name)
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
