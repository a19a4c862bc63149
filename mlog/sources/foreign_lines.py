"""One line of a foreign log: when it was, how loud, by whom, and what it says. Pure.

- `json`: an object; time, level, logger and message under the names that are usual.
- `logfmt`: `time=… level=warn msg="…" key=value`.
- `text`: whatever is in front that looks like a time, and a word that is a level.
- `auto`: the first of these that fits, line by line.

A line without a time has that of the line before it: a traceback stays with its error.
Times without a zone are local.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

__all__ = ["FORMATS", "Line", "parser_of"]

FORMATS = ("auto", "json", "logfmt", "text")

_TIMES = ("ts", "time", "timestamp", "@timestamp", "asctime", "datetime", "date", "t")
_LEVELS = ("level", "levelname", "lvl", "severity", "log.level", "loglevel")
_LOGGERS = ("logger", "name", "logger_name", "component", "module", "source", "caller")
_MESSAGES = ("msg", "message", "event", "body", "log", "MESSAGE")
_KNOWN = {
    **dict.fromkeys(("trace", "debug", "dbug", "verbose", "fine", "d"), "DEBUG"),
    **dict.fromkeys(("info", "information", "notice", "informational", "i"), "INFO"),
    **dict.fromkeys(("warn", "warning", "wrn", "w"), "WARNING"),
    **dict.fromkeys(("error", "err", "eror", "e"), "ERROR"),
    **dict.fromkeys(
        ("critical", "crit", "fatal", "panic", "alert", "emerg", "emergency", "f"),
        "CRITICAL",
    ),
}
_BY_NUMBER = ("CRITICAL", "CRITICAL", "CRITICAL", "ERROR", "WARNING", "INFO", "INFO")
_PAIR = re.compile(r'([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|\S*)')
_ISO = re.compile(
    r"[\[(]?(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
    r"\s?(?:Z|UTC|[+-]\d\d:?\d\d)?)[\])]?[\s:,|-]*"
)
_SYSLOG = re.compile(r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?:\S+ )?")
_CLOCK = re.compile(r"[\[(]?(\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)[\])]?[\s:,|-]*")
_EPOCH = re.compile(r"[\[(]?(1\d{9}(?:\.\d{1,9})?)[\])]?[\s:,|-]+")
_WORD = re.compile(r"[\[(<]?([A-Za-z]{3,13})[\])>]?(?=[\s:|\]-]|$)")
_LOOKED = 3
"""Words in front of a text that may be its level."""


class Line(NamedTuple):
    """What a line says.

    Attributes:
        time: Seconds since the epoch; None where it says none.
        level: Name of a level of logging's; INFO where it says none.
        logger: Who said so; "" where it does not say.
        text: The message.
        fields: What else there was.
    """

    time: float | None
    level: str
    logger: str
    text: str
    fields: Mapping[str, Any]


Parse = Callable[[str, datetime], Line | None]


def parser_of(kind: str) -> Callable[[str, datetime], Line]:
    """Return what makes a `Line` of a text without its end, and the time of now.

    Raises:
        ValueError: There is no such format.
    """
    if kind not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {kind!r}")
    tried: dict[str, tuple[Parse, ...]] = {
        "auto": (_json, _logfmt),
        "json": (_json,),
        "logfmt": (_logfmt,),
        "text": (),
    }

    def parse(text: str, now: datetime) -> Line:
        for attempt in tried[kind]:
            if (found := attempt(text, now)) is not None:
                return found
        return _text(text, now)

    return parse


def _json(text: str, now: datetime) -> Line | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    return _of_fields(found, now) if isinstance(found, dict) else None


def _logfmt(text: str, now: datetime) -> Line | None:
    pairs = {m[1]: _unquoted(m[2]) for m in _PAIR.finditer(text)}
    if not pairs.keys() & {*_MESSAGES, *_LEVELS, *_TIMES} or len(pairs) < 2:
        return None
    if not _PAIR.match(text):  # a text that mentions some
        return None
    return _of_fields(pairs, now)


def _of_fields(found: Mapping[str, Any], now: datetime) -> Line:
    left = dict(found)
    time = _first(left, _TIMES, lambda value: _time_of(value, now))
    level = _first(left, _LEVELS, _level_of)
    message = _first(left, _MESSAGES, _text_of)
    logger = _first(left, _LOGGERS, _text_of)
    return Line(time, level or "INFO", logger or "", message or "", left)


def _first(
    left: dict[str, Any], names: tuple[str, ...], read: Callable[[Any], Any]
) -> Any:
    """Take the first field out that can be read as what is looked for."""
    for name in names:
        if name in left and (value := read(left[name])) is not None:
            del left[name]
            return value
    return None


def _text(text: str, now: datetime) -> Line:
    time, rest = _leading_time(text, now)
    for match, _ in zip(_WORD.finditer(rest), range(_LOOKED), strict=False):
        if len(match[1]) > 1 and (level := _KNOWN.get(match[1].lower())):
            return Line(time, level, "", rest.strip(), {})
    return Line(time, "INFO", "", rest.strip() if time is not None else text, {})


def _leading_time(text: str, now: datetime) -> tuple[float | None, str]:
    for pattern in (_ISO, _SYSLOG, _EPOCH, _CLOCK):
        match = pattern.match(text)
        if match and (time := _time_of(match[1], now)) is not None:
            return time, text[match.end() :]
    return None, text


def _time_of(value: object, now: datetime) -> float | None:
    """Return seconds since the epoch; milli-, micro- and nanoseconds are known by size."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number = float(value)
        while number >= 1e11:
            number /= 1e3
        return number if number >= 1e8 else None
    if not isinstance(value, str):
        return None
    text = value.strip().replace("/", "-").replace(",", ".").removesuffix(" UTC")
    if re.fullmatch(r"1\d{9,18}(?:\.\d+)?", text):
        return _time_of(float(text), now)
    try:
        if re.fullmatch(r"\d\d:\d\d:\d\d(?:\.\d+)?", text):
            text = f"{now.astimezone():%Y-%m-%d}T{text}"
        moment = datetime.fromisoformat(_six_digits(text.replace(" +", "+")))
    except ValueError:
        try:
            moment = datetime.strptime(f"{now.year} {text}", "%Y %b %d %H:%M:%S")
        except ValueError:
            return None
    if value.rstrip().endswith("UTC"):
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (OverflowError, OSError):
        return None


def _six_digits(text: str) -> str:
    """Return a time with no more digits of the second than Python takes."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def _level_of(value: object) -> str | None:
    """Return a level by its name; by a number of syslog's (0 to 6) or logging's."""
    if isinstance(value, str):
        if value.isascii() and value.isdigit():
            return _level_of(int(value))
        return _KNOWN.get(value.strip().lower())
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if 0 <= value < len(_BY_NUMBER):
        return _BY_NUMBER[value]
    if value == len(_BY_NUMBER):
        return "DEBUG"
    for least, name in ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO")):
        if value >= least:
            return name
    return "DEBUG"


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(orjson.loads(text))
    except ValueError:
        return text.strip('"')
