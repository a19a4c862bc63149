"""Formatters: entries as JSON for files of the user's own, and text for a console."""

import json
import logging
import time
from typing import Any, TextIO

import orjson
from pythonjsonlogger.core import BaseJsonFormatter

from mlog.context import scope
from mlog.entry import Redacts, fields_of
from mlog.record import metric_of, metric_text
from mlog.redaction import make_redactor

__all__ = ["ConsoleFormatter", "EntryFormatter"]


class EntryFormatter(BaseJsonFormatter):
    """Formats a record as an entry of the file format, one JSON line without newline.

    A formatter of python-json-logger: `rename_fields`, `static_fields`, `defaults`,
    `timestamp`, `prefix` and `json_default` work as there, on a file that is the
    user's own. (A run's files keep the format and do not pass through here.)
    `seq` is left out unless a handler numbers its entries. Safe from any thread.
    """

    def __init__(
        self,
        *args: Any,
        json_default: Any = None,
        redact: Any = True,
        **kwargs: Any,
    ) -> None:
        """Prepare.

        Args:
            *args, **kwargs: As for python-json-logger's formatters. Names in `fmt` are
                added to the entry from the record's attributes.
            json_default: Gives a JSON form to what `static_fields` and the like hold.
            redact: As for `start_run`.
        """
        super().__init__(*args, **kwargs)
        if args or "fmt" in kwargs:
            self._extra_names = [n for n in self._required_fields if n != "message"]
        else:
            self._extra_names = []
        self._default = json_default
        self._redactor: Redacts | None = make_redactor(redact)

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry of a record; the record is not changed."""
        _, entry = fields_of(record, scope(), self._redactor)
        del entry["seq"]
        data = self.process_log_record(self._with_fields(entry, record))
        return self.serialize_log_record(data)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return strict JSON of the entry."""
        try:
            return orjson.dumps(log_data, default=self._default).decode()
        except TypeError:  # what orjson refuses and no json_default takes
            return json.dumps(log_data, default=self._default or str)

    def _with_fields(
        self, entry: dict[str, Any], record: logging.LogRecord
    ) -> dict[str, Any]:
        """Add what python-json-logger's options ask for, and rename."""
        data = {**self.defaults, **entry}
        for name in self._extra_names:
            data.setdefault(name, getattr(record, name, None))
        data.update(self.static_fields)
        if self.timestamp:
            key = self.timestamp if isinstance(self.timestamp, str) else "timestamp"
            data[key] = entry["ts"]
        renamed = {self.rename_fields.get(key, key): v for key, v in data.items()}
        if self.rename_fields_keep_missing:
            for name in self.rename_fields.values():
                renamed.setdefault(name, None)
        return renamed


_COLOURS = {10: "\x1b[2m", 30: "\x1b[33m", 40: "\x1b[31m", 50: "\x1b[1;31m"}
_RESET = "\x1b[0m"


class ConsoleFormatter(logging.Formatter):
    """One short line per record for people: time, level, logger, message, metrics.

    Colours only on a terminal, and not under `NO_COLOR`. Control characters of a
    message are shown escaped, so that no log line can repaint the terminal.
    """

    def __init__(self, colour: bool = False) -> None:
        """Choose whether to colour; `for_stream` finds that out."""
        super().__init__()
        self._colour = colour

    @classmethod
    def for_stream(cls, stream: TextIO, env: Any) -> "ConsoleFormatter":
        """Return a formatter that suits a stream: colours on a terminal only."""
        try:
            terminal = stream.isatty()
        except (AttributeError, ValueError):
            terminal = False
        plain = bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb"
        return cls(colour=terminal and not plain)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it; the record is not changed."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = logging.getLevelName(record.levelno)
        message = _escape(record.getMessage())
        metric = metric_of(record)
        numbers = _escape(metric_text(metric, _step(record))) if metric else ""
        if numbers and numbers not in message:
            message = f"{message}  {numbers}" if message else numbers
        line = f"{clock} {level:<7} {record.name}: {message}"
        colour = _COLOURS.get(record.levelno, "") if self._colour else ""
        if colour:
            line = f"{colour}{line}{_RESET}"
        if record.exc_info and record.exc_info[0] is not None:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            line = f"{line}\n{self.formatStack(record.stack_info)}"
        return line


def _step(record: logging.LogRecord) -> Any:
    return getattr(record, "mlog_step", None) or record.__dict__.get("step")


def _escape(text: str) -> str:
    """Return the text with control characters shown, newlines and tabs kept."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text
    )
