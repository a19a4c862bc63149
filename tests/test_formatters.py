"""Formatters: entries for the user's own files, lines for a console."""

import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

import mlog
from mlog.formatters import ConsoleFormatter, EntryFormatter

MakeRecord = Callable[..., logging.LogRecord]


def parsed(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    line = formatter.format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_entry_formatter_writes_an_entry_without_number(
    make_record: MakeRecord,
) -> None:
    entry = parsed(EntryFormatter(), make_record("loss is %s", 0.3, fold=2))
    assert list(entry) == [
        *("ts", "level", "logger", "msg", "file", "line", "func", "extra")
    ]
    assert entry["msg"] == "loss is 0.3"
    assert entry["extra"] == {"fold": 2}


def test_formatting_does_not_change_the_record(make_record: MakeRecord) -> None:
    """Other handlers get the same record afterwards."""
    record = make_record("x", metric={"loss": 1})
    before = dict(vars(record))
    EntryFormatter().format(record)
    ConsoleFormatter().format(record)
    assert vars(record) == before


def test_options_of_python_json_logger_work(make_record: MakeRecord) -> None:
    formatter = EntryFormatter(
        rename_fields={"msg": "message", "absent": "there"},
        static_fields={"service": "trainer"},
        defaults={"env": "test"},
        timestamp="@timestamp",
    )
    entry = parsed(formatter, make_record("hello"))
    assert entry["message"] == "hello"
    assert "msg" not in entry
    assert "there" not in entry
    assert entry["service"] == "trainer"
    assert entry["env"] == "test"
    assert entry["@timestamp"] == entry["ts"]


def test_missing_fields_are_kept_when_renamed_on_request(
    make_record: MakeRecord,
) -> None:
    formatter = EntryFormatter(
        rename_fields={"absent": "there"}, rename_fields_keep_missing=True
    )
    assert parsed(formatter, make_record())["there"] is None


def test_named_attributes_of_the_record_are_added(make_record: MakeRecord) -> None:
    formatter = EntryFormatter(["message", "process", "module"])
    entry = parsed(formatter, make_record("hello"))
    assert entry["process"] == make_record().process
    assert entry["module"] == make_record().module
    assert "message" not in entry, "it is there as msg"


def test_json_default_gives_a_form_to_what_static_fields_hold(
    make_record: MakeRecord,
) -> None:
    formatter = EntryFormatter(
        static_fields={"who": {1, 2}}, json_default=lambda value: sorted(value)
    )
    assert parsed(formatter, make_record())["who"] == [1, 2]


def test_prefix_stands_before_the_json(make_record: MakeRecord) -> None:
    assert EntryFormatter(prefix="@cee:").format(make_record()).startswith('@cee:{"ts"')


def test_secrets_are_redacted_unless_asked_not_to(make_record: MakeRecord) -> None:
    record = make_record("x", password="hunter2hunter2")
    assert "hunter2" not in EntryFormatter().format(record)
    assert "hunter2" in EntryFormatter(redact=False).format(record)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**70, "\ud800", {1: {2, 3}}, object()]
)
def test_any_extra_gives_strict_json(make_record: MakeRecord, value: object) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    line = EntryFormatter().format(make_record("x", odd=value))
    assert "odd" in json.loads(line, parse_constant=refuse)["extra"]


def test_formatter_can_be_made_by_dict_config() -> None:
    stream = io.StringIO()
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "entry": {"()": "mlog.EntryFormatter", "static_fields": {"a": 1}},
        },
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "formatter": "entry",
                "stream": stream,
            },
        },
        "loggers": {"cfg": {"handlers": ["out"], "level": "INFO", "propagate": False}},
    }
    import logging.config

    logging.config.dictConfig(config)
    mlog.getLogger("cfg").info("hello", metric={"loss": 0.5}, step=1)
    entry = json.loads(stream.getvalue())
    assert (entry["metric"], entry["a"]) == ({"loss": 0.5}, 1)


# --- the console -------------------------------------------------------------------


def test_console_line_has_time_level_logger_and_message(
    make_record: MakeRecord,
) -> None:
    line = ConsoleFormatter().format(make_record("hello", name="train"))
    assert line[2] == line[5] == ":"
    assert line[8:] == " INFO    train: hello"


def test_metrics_stand_behind_the_message(make_record: MakeRecord) -> None:
    record = make_record("epoch 3", metric={"loss": 0.123456789, "n": 5}, step=7)
    line = ConsoleFormatter().format(record)
    assert line.endswith("test: epoch 3  loss=0.123457 n=5 step=7")


def test_control_characters_are_shown_not_sent(make_record: MakeRecord) -> None:
    """A log line must not repaint the terminal."""
    line = ConsoleFormatter().format(make_record("\x1b[2J\x07 a\tb\nc \x9b"))
    assert line.endswith("\\x1b[2J\\x07 a\tb\nc \\x9b")


def test_traceback_follows(make_record: MakeRecord) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = make_record("x", exc_info=sys.exc_info())
    line = ConsoleFormatter().format(record)
    assert "\nTraceback (most recent call last):" in line
    assert line.endswith("ValueError: no")


class Terminal(io.StringIO):
    """A stream that says it is a terminal (a fake: colours depend on no more)."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (None, {}, False),
    ],
    ids=["terminal", "NO_COLOR", "dumb", "pipe", "none"],
)
def test_colours_are_for_terminals(
    make_record: MakeRecord, stream: Any, env: dict[str, str], coloured: bool
) -> None:
    formatter = ConsoleFormatter.for_stream(stream, env)
    line = formatter.format(make_record("x", level=logging.ERROR))
    assert ("\x1b[31m" in line) is coloured
