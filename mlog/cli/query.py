"""`mlog query`: runs, metrics, log lines and events by SQL."""

import csv
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain, islice
from math import isfinite
from typing import IO, Any, TypeAlias

import click
import orjson

from mlog.cli.lines import wants_colour
from mlog.cli.options import all_runs, dir_option, report_closed, root_of
from mlog.cli.table import (
    Column,
    fitted,
    print_lines,
    table_lines,
    width_of,
)
from mlog.errors import MlogError
from mlog.escaping import escape, inline
from mlog.reader.find import experiment_folders, run_folders
from mlog.reader.page_words import one_line
from mlog.reader.tables import COLUMNS, Answer, QueryError, Tables

__all__ = ["command", "root_of"]

_MOST = 1_000
"""Rows of a table where nothing else is said."""

_LEAST = 12
_WIDE = 1 << 20  # what is not a terminal has room for everything
_BATCH = 1_000
_NONE = "–"
_PLAN = ["explain_key", "explain_value"]
_NUMBER = re.compile(
    r"U?(?:TINY|SMALL|BIG|HUGE)?INT|INTEGER|UINTEGER|DOUBLE|FLOAT|DECIMAL\([0-9, ]*\)"
)
_WHOLE = ("TIMESTAMP", "DATE", "TIME")
"""Types of which a part says too little."""


_Row: TypeAlias = tuple[Any, ...]

_EXAMPLES = """\b
Examples:
  mlog query                              the tables and their columns
  mlog query "select name, status, metric['loss'] as loss from runs order by loss"
  mlog query "select ts, msg from logs where levelno >= 30 and run_id = '…'"
  mlog query "select run_id, min(value) from metrics where name = 'loss' group by 1"
  mlog query "from params where name = 'lr' and number < 0.1" --csv > rates.csv
  mlog query - --json < report.sql
"""


class _WrongQuery(click.ClickException):
    """SQL that cannot be run: a wrong call, told with its place where that is known."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        click.echo(f"mlog: {escape(self.message)}", file=file, err=True)


@click.command("query", epilog=_EXAMPLES)
@click.argument("sql", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a heading.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"Rows at most; 0: all. Default: {_MOST:,}, with --json and --csv all.",
)
@dir_option
def command(
    sql: str | None, as_json: bool, as_csv: bool, limit: int | None, dir_: str | None
) -> None:
    """Ask all runs by SQL; `-` reads it from standard input.

    The tables are runs, params, tags, metrics, logs and events; without SQL their
    columns are shown. The files are read as they are now; of metrics, logs and events
    only those that conditions on experiment and run_id leave. Times are UTC. Nothing
    can be changed. Needs DuckDB: pip install "mlog-runs[query]".
    """
    if as_json and as_csv:
        raise click.UsageError("choose one of --json and --csv")
    if sql is None:
        _print_columns(as_json)
        return
    most = (0 if as_json or as_csv else _MOST) if limit is None else limit
    root = root_of(dir_)
    folders = all_runs(root)
    tables = Tables(folders, [root])
    try:
        answer = tables.answer(_sql(sql))
        show = _SHOW["json" if as_json else "csv" if as_csv else "table"]
        count, is_cut = show(answer, most)
    except QueryError as exc:
        raise _WrongQuery(str(exc)) from exc
    _report(tables, most, is_cut=is_cut and limit is None)
    report_closed({*experiment_folders(root), *run_folders(root)} - {*folders})
    if not count:
        raise MlogError("no rows")


def _sql(text: str) -> str:
    if text != "-":
        return text
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _report(tables: Tables, most: int, *, is_cut: bool) -> None:
    """Say on stderr what is not shown."""
    if is_cut:
        text = f"mlog: the first {most:,} rows; --limit 0 shows all"
        click.echo(text, err=True)
    if tables.failed:
        noun = "run" if tables.failed == 1 else "runs"
        text = f"mlog: {tables.failed:,} {noun} could not be read: {tables.reason}"
        click.echo(inline(text), err=True)


def _print_columns(as_json: bool) -> None:
    """Print what there is to ask."""
    if as_json:
        print_lines(
            orjson.dumps({"table": name, "columns": columns}).decode()
            for name, columns in COLUMNS.items()
        )
        return
    rows = [
        (table, name, kind)
        for table, columns in COLUMNS.items()
        for name, kind in columns.items()
    ]
    names = ("table", "column", "type")
    columns = [Column(names[n], [row[n] for row in rows]) for n in range(3)]
    print_lines(table_lines(columns, _WIDE, colour=_colour()))


def _colour() -> bool:
    return wants_colour(sys.stdout, os.environ)


# --- rows ----------------------------------------------------------------------------


def _limited(rows: Iterator[_Row], most: int) -> Iterator[_Row]:
    return islice(rows, most) if most else rows


def _print_table(answer: Answer, most: int) -> tuple[int, bool]:
    """Print rows for people; returns how many, and whether there are more."""
    rows = list(_limited(answer.rows, most))
    is_cut = next(answer.rows, None) is not None
    if answer.names == _PLAN:
        print_lines(escape(str(value)) for _, value in rows)
    elif rows:
        columns = [
            _column(name, kind, [row[n] for row in rows])
            for n, (name, kind) in enumerate(
                zip(answer.names, answer.types, strict=True)
            )
        ]
        width = width_of(sys.stdout, os.environ) if _is_terminal() else _WIDE
        shown, out = fitted(columns, width)
        print_lines(table_lines(shown, width, colour=_colour()))
        if out:
            names = ", ".join(column.title for column in reversed(out))
            text = f"mlog: no room for {names}; --json and --csv have all"
            click.echo(text, err=True)
    return len(rows), is_cut


def _is_terminal() -> bool:
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def _column(name: str, kind: str, values: Sequence[Any]) -> Column:
    is_number = _NUMBER.fullmatch(kind) is not None
    cells = [one_line(_cell(value)) for value in values]
    least = None if is_number or kind.startswith(_WHOLE) else _LEAST
    return Column(one_line(name), cells, is_right=is_number, least=least, rank=1)


def _cell(value: Any) -> str:
    return _NONE if value is None else _plain(value)


def _print_json(answer: Answer, most: int) -> tuple[int, bool]:
    """Print a JSON object for each row; returns how many, and False."""
    names = _unique(answer.names)
    makers = [_fragment if kind == "JSON" else _json_value for kind in answer.types]

    def line(row: _Row) -> str:
        made = (make(value) for make, value in zip(makers, row, strict=True))
        return orjson.dumps(dict(zip(names, made, strict=True))).decode()

    return _print_all(map(line, _limited(answer.rows, most))), False


def _print_csv(answer: Answer, most: int) -> tuple[int, bool]:
    """Print CSV; returns how many rows, and False."""
    text: Callable[[str], str] = inline if sys.stdout.isatty() else str
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="")

    def line(row: Iterable[Any]) -> str:
        writer.writerow(["" if v is None else text(_plain(v)) for v in row])
        return lines.taken()

    rows = map(line, _limited(answer.rows, most))
    return _print_all(chain([line(answer.names)], rows)) - 1, False


_SHOW: dict[str, Callable[[Answer, int], tuple[int, bool]]] = {
    "json": _print_json,
    "csv": _print_csv,
    "table": _print_table,
}


class _Lines:
    """Holds the line that a CSV writer has made."""

    def __init__(self) -> None:
        self._text = ""

    def write(self, text: str) -> None:
        """Take a part of it."""
        self._text += text

    def taken(self) -> str:
        """Return it, and forget it."""
        text, self._text = self._text, ""
        return text


def _print_all(lines: Iterator[str]) -> int:
    """Print lines as they come; returns how many."""
    count = 0
    while batch := list(islice(lines, _BATCH)):
        print_lines(batch)
        count += len(batch)
    return count


# --- values --------------------------------------------------------------------------


def _unique(names: list[str]) -> list[str]:
    """Return names of which no two are equal: `a`, `a_1`."""
    found: dict[str, None] = {}
    for name in names:
        number, new = 0, name
        while new in found:
            number += 1
            new = f"{name}_{number}"
        found[new] = None
    return list(found)


def _plain(value: Any) -> str:
    """Return a value as text; what holds others as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, float):
        return str(_json_value(value))
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(_json_value(value)).decode()
    return value.hex() if isinstance(value, bytes) else str(value)


def _json_value(value: Any) -> Any:
    """Return a value as JSON has it; floats that it has not as in mlog's files."""
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, dict):
        return {_plain(k): _json_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(v) for v in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _json_value(float(value))
    return _plain(value)


def _fragment(value: Any) -> Any:
    """Return the text of a column of JSON as the JSON it is."""
    return orjson.Fragment(value) if isinstance(value, str) else _json_value(value)
