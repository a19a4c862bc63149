"""Runs as tables of SQL, through DuckDB: the one file that imports it.

`runs`, `params` and `tags` are made from the state of each run; `metrics`, `logs` and
`events` are views that read the segments when they are asked. Invariants:

- A table that the SQL does not mention costs nothing, and of the views only the files
  are opened that conditions on `experiment`, `run_id`, `writer`, `rank` and `attempt`
  leave: all five come from the path of the file.
- Nothing is written. DuckDB is in memory, reads below the given folders only, spills
  nothing to the disk and loads no extension; what is not a query is refused, and so is
  `COPY` wherever it stands.
- What is no entry (a torn line, garbage, another stream's) is no row.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from mlog.errors import MlogError
from mlog.layout import parse_segment
from mlog.reader.find import iter_runs
from mlog.reader.index import RunIndex
from mlog.reader.state import RunState
from mlog.reader.table_rows import rows_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

__all__ = [
    "COLUMNS",
    "Answer",
    "MissingDuckDBError",
    "QueryError",
    "Tables",
    "is_main",
    "query",
    "write_parquet",
]

_T = TypeVar("_T")
_Result = TypeVar("_Result")

_PLACE = {
    "rank": "INTEGER",
    "attempt": "INTEGER",
    "writer": "VARCHAR",
    "seq": "BIGINT",
}

COLUMNS: dict[str, dict[str, str]] = {
    "runs": {
        "experiment": "VARCHAR",
        "run_id": "VARCHAR",
        "name": "VARCHAR",
        "status": "VARCHAR",
        "created": "TIMESTAMP",
        "updated": "TIMESTAMP",
        "ended": "TIMESTAMP",
        "duration": "DOUBLE",
        "attempt": "INTEGER",
        "error": "VARCHAR",
        "host": "VARCHAR",
        "commit": "VARCHAR",
        "parent": "VARCHAR",
        "description": "VARCHAR",
        "metric": "MAP(VARCHAR, DOUBLE)",
        "param": "MAP(VARCHAR, VARCHAR)",
        "tag": "MAP(VARCHAR, VARCHAR)",
        "experiment_name": "VARCHAR",
        "path": "VARCHAR",
    },
    "params": {
        "experiment": "VARCHAR",
        "run_id": "VARCHAR",
        "name": "VARCHAR",
        "value": "VARCHAR",
        "number": "DOUBLE",
    },
    "tags": {
        "experiment": "VARCHAR",
        "run_id": "VARCHAR",
        "name": "VARCHAR",
        "value": "VARCHAR",
    },
    "metrics": {
        "experiment": "VARCHAR",
        "run_id": "VARCHAR",
        "name": "VARCHAR",
        "value": "DOUBLE",
        "step": "BIGINT",
        "ts": "TIMESTAMP",
        **_PLACE,
        "level": "VARCHAR",
        "logger": "VARCHAR",
        "msg": "VARCHAR",
    },
    "logs": {
        "experiment": "VARCHAR",
        "run_id": "VARCHAR",
        "ts": "TIMESTAMP",
        "level": "VARCHAR",
        "logger": "VARCHAR",
        "msg": "VARCHAR",
        "step": "BIGINT",
        "levelno": "INTEGER",
        **_PLACE,
        "file": "VARCHAR",
        "line": "BIGINT",
        "func": "VARCHAR",
        "thread": "VARCHAR",
        "task": "VARCHAR",
        "exc": "STRUCT(type VARCHAR, msg VARCHAR, traceback VARCHAR)",
        "stack": "VARCHAR",
        "extra": "JSON",
    },
    "events": {
        "experiment": "VARCHAR",
        "run_id": "VARCHAR",
        "ts": "TIMESTAMP",
        "event": "VARCHAR",
        "data": "JSON",
        **_PLACE,
    },
}
"""Each table, and the DuckDB type of each of its columns. Times are UTC."""

_STREAMS = ("metrics", "logs", "events")

# What an entry may have, as far as a view has a use for it.
_KEYS = {
    "metrics": {
        "step": "BIGINT",
        "metric": "MAP(VARCHAR, DOUBLE)",
        "level": "VARCHAR",
        "logger": "VARCHAR",
        "msg": "VARCHAR",
    },
    "logs": {
        name: kind
        for name, kind in COLUMNS["logs"].items()
        if name not in ("experiment", "run_id", "ts", "levelno", *_PLACE)
    },
    "events": {"event": "VARCHAR", "data": "JSON"},
}

# Every writer's name is that of its files; see `mlog.layout.writer_name`.
_PATH = (
    r"([^/\\]*)[/\\]([^/\\]*)[/\\][a-z]+(?:-([a-z0-9-]+))?(?:\.[1-9][0-9]*)?\.jsonl$"
)
_IS_MAIN = r"(a[1-9][0-9]*)?|(a[1-9][0-9]*-)?[0-9a-f]{4}"
_RANK = r"^r([0-9]{1,9})(?:-a[0-9]+)?(?:-[0-9a-f]{4})?$"
_ATTEMPT = r"^(?:.*-)?a([0-9]{1,9})(?:-[0-9a-f]{4})?$"

_LEVELS = """case level
    when 'DEBUG' then 10 when 'INFO' then 20 when 'WARNING' then 30 when 'WARN' then 30
    when 'ERROR' then 40 when 'CRITICAL' then 50 when 'FATAL' then 50
    else coalesce(
        try_cast(nullif(regexp_extract(level, '^Level ([0-9]{1,9})$', 1), '') as integer),
        20) end"""

_GUESS = re.compile(r' Did you mean "([^"]*)"\?')
_GLOB = re.compile(r"[*?\[]")

_COPY_MEMORY = "128MB"
"""Of DuckDB while it writes a file: enough for a run of any length."""

_QUERIES = frozenset({"SELECT", "EXPLAIN", "MULTI"})  # MULTI: a pivot
_kept: list["DuckDBPyConnection"] = []
"""What relations need; before DuckDB 2 they do not keep it themselves."""

_CHUNK = 2_000
"""Runs whose facts are handed to DuckDB at once."""


class QueryError(MlogError):
    """The SQL is wrong, is no query, or could not be run to its end.

    Below the message stands the line of SQL with the place marked, if that is known.
    """


class MissingDuckDBError(MlogError, ImportError):
    """DuckDB is not installed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gives.

    Attributes:
        names: Of the columns; two may be equal.
        types: Theirs, as DuckDB writes them.
        rows: May be gone through once; raises `QueryError` where a row cannot be made.
    """

    names: list[str]
    types: list[str]
    rows: Iterator[tuple[Any, ...]]


@dataclass(slots=True)
class Tables:
    """The tables of some runs.

    Attributes:
        folders: Of the runs.
        allowed: What SQL may read besides, with all that is below: the root.
        failed: How many runs could not be read, as far as they were looked at.
        reason: Why the first of them could not.
    """

    folders: Sequence[Path]
    allowed: Sequence[Path] = ()
    failed: int = 0
    reason: str = ""
    _seen: set[Path] = field(default_factory=set)

    def answer(self, sql: str) -> Answer:
        """Run a query, and return its rows as they come.

        Times with a zone come as text: Python's own have none from DuckDB alone.

        Raises:
            QueryError: The SQL is wrong, or no query.
            MissingDuckDBError: DuckDB is not installed.
        """
        connection, statement = self._prepared(sql)
        with _told():
            _wait(connection, connection.execute, statement)
            columns = connection.description or ()
            kinds = [str(column[1]) for column in columns]
            if any("TIME ZONE" in kind for kind in kinds):
                again = _without_zones(statement, kinds)
                _wait(connection, connection.execute, again)
        return Answer([str(column[0]) for column in columns], kinds, _rows(connection))

    def relation(self, sql: str) -> "DuckDBPyRelation":
        """Return a query as DuckDB's relation; see `answer`."""
        connection, statement = self._prepared(sql)
        if int(_duckdb().__version__.partition(".")[0]) < 2:
            _kept.append(connection)
        with _told():
            return connection.sql(statement)

    def connect(self, names: Iterable[str]) -> "DuckDBPyConnection":
        """Return a connection with all tables, of which the named ones are filled.

        It may still read and write what the process may; `_lock` ends that.
        """
        duckdb = _duckdb()
        names = set(names)
        safe = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": "",  # else a folder here, made when memory is short
        }
        connection: DuckDBPyConnection = duckdb.connect(":memory:", config=safe)
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set python_enable_replacements = false")
        self._make_tables(connection, names)
        self._make_views(connection, names)
        return connection

    def _prepared(self, sql: str) -> tuple["DuckDBPyConnection", str]:
        statement = _only_query(sql)
        connection = self.connect(_mentioned(sql))
        _lock(connection, [*self.allowed, *self.folders])
        return connection, statement

    # --- views over segments ---------------------------------------------------------

    def _make_views(self, connection: "DuckDBPyConnection", names: set[str]) -> None:
        files = self._segments() if names.intersection(_STREAMS) else {}
        for stream in _STREAMS:
            found = files.get(stream, []) if stream in names else []
            if found:
                connection.execute(
                    f"""set variable mlog_{stream} = from_json($1, '["VARCHAR"]')""",
                    [orjson.dumps(found).decode()],
                )
            connection.execute(_view(stream, _source(stream, bool(found))))

    def _segments(self) -> dict[str, list[str]]:
        """Return the files of each stream, without links and what may not be read."""
        found: dict[str, list[str]] = {stream: [] for stream in _STREAMS}
        for folder in self.folders:
            try:
                for stream, path in _segments_of(folder):
                    found[stream].append(path)
            except (OSError, UnicodeError) as exc:
                self._fail(folder, exc)
        return found

    # --- tables of facts -------------------------------------------------------------

    def _make_tables(self, connection: "DuckDBPyConnection", names: set[str]) -> None:
        asked = [name for name in ("runs", "params", "tags") if name in names]
        for name in ("runs", "params", "tags"):
            columns = ", ".join(f'"{n}" {kind}' for n, kind in COLUMNS[name].items())
            connection.execute(f"create table {name} ({columns})")
        found = self._states() if asked else iter(())
        while states := list(islice(found, _CHUNK)):
            for name in asked:
                _insert(connection, name, states)

    def _states(self) -> Iterator[RunState]:
        if not self.folders:
            return
        root = self.allowed[0] if self.allowed else self.folders[0].parent.parent
        found = RunIndex(root).states(self.folders)
        for folder, state in zip(self.folders, found, strict=True):
            if isinstance(state, Exception):  # removed just now, or not for us
                self._fail(folder, state)
            else:
                yield state

    def _fail(self, folder: Path, exc: Exception) -> None:
        if folder not in self._seen:
            self._seen.add(folder)
            self.failed += 1
            self.reason = self.reason or str(exc)


def is_main(writer: str) -> bool:
    """Whether a writer is a main process, by its name; its rank counts as 0."""
    return re.fullmatch(_IS_MAIN, writer) is not None


def query(sql: str, *, root: Path) -> "DuckDBPyRelation":
    """Return a query over all runs of a root, as DuckDB's relation.

    Raises:
        QueryError: The SQL is wrong, or no query.
        MissingDuckDBError: DuckDB is not installed.
    """
    return Tables(list(iter_runs(root)), [root]).relation(sql)


def write_parquet(folders: Sequence[Path], sql: str, path: Path) -> None:
    """Write what a query over some runs gives into a Parquet file.

    Args:
        folders: Of the runs.
        sql: mlog's own; it is not looked at.
        path: The file, which is replaced.

    Raises:
        QueryError: A file cannot be read or written.
        MissingDuckDBError: DuckDB is not installed.
    """
    tables = Tables(folders)
    connection = tables.connect(_mentioned(sql))
    if tables.failed:
        raise QueryError(tables.reason)
    copied = f"copy ({sql}) to {_quoted(str(path))} (format parquet, compression zstd)"
    connection.execute("set threads = 1")  # in order, without holding what is late
    connection.execute("set preserve_insertion_order = false")
    connection.execute(f"set memory_limit = '{_COPY_MEMORY}'")
    with _told():
        try:
            _wait(connection, connection.execute, copied)
        except _duckdb().OutOfMemoryException:  # very long values
            connection.execute("reset memory_limit")
            _wait(connection, connection.execute, copied)


# --- SQL -----------------------------------------------------------------------------


def _mentioned(sql: str) -> set[str]:
    """Return the tables whose names stand anywhere in a text: at least those it uses."""
    words = set(re.findall(r"\w+", sql.lower()))
    return words & COLUMNS.keys()


def _only_query(sql: str) -> str:
    """Return the one statement of a text, which is a query, without its end.

    Raises:
        QueryError: It is anything else.
    """
    duckdb = _duckdb()
    with _told():
        statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        count = f"{len(statements)} statements" if statements else "nothing"
        raise QueryError(f"one SQL query is expected, got {count}")
    kind = statements[0].type.name
    if kind not in _QUERIES or "copy" in _keywords(sql):
        word = "COPY" if kind in _QUERIES else kind
        raise QueryError(f"only queries are run, like SELECT; this is {word}")
    return str(statements[0].query).strip().rstrip(";")


def _keywords(sql: str) -> set[str]:
    """Return the keywords of a text, so far as they stand alone in it."""
    duckdb = _duckdb()
    text = sql.encode("ascii", "replace").decode()  # places are counted in bytes
    found = set()
    for place, kind in duckdb.tokenize(text):
        if "keyword" in str(kind):
            match = re.match(r"\w+", text[place:])
            found.add(match[0].lower() if match else "")
    return found


def _view(stream: str, source: str) -> str:
    """Return the SQL that makes the view of a stream."""
    unnested = ", unnest(map_entries(metric)) as point" if stream == "metrics" else ""
    special = {
        "name": "point.key",
        "value": "point.value",
        "levelno": _LEVELS,
    }
    columns = ", ".join(
        f'{special[name]} as "{name}"' if name in special else f'"{name}"'
        for name in COLUMNS[stream]
    )
    is_row = {"metrics": "point.value is not null", "events": "event is not null"}
    return f"""create view {stream} as select {columns} from (
        select * exclude (filename),
            regexp_extract(filename, '{_PATH}', 1) as experiment,
            regexp_extract(filename, '{_PATH}', 2) as run_id,
            regexp_extract(filename, '{_PATH}', 3) as writer,
            {_rank_of("writer")} as "rank",
            {_attempt_of("writer")} as attempt{unnested}
        from {source} where ts is not null
    ) where {is_row.get(stream, "true")}"""


def _rank_of(writer: str) -> str:
    """Return SQL for a writer's rank: 0 of a main process, null where it is none."""
    return f"""case when regexp_full_match({writer}, '{_IS_MAIN}') then 0
        else try_cast(nullif(regexp_extract({writer}, '{_RANK}', 1), '') as integer)
        end"""


def _attempt_of(writer: str) -> str:
    found = f"nullif(regexp_extract({writer}, '{_ATTEMPT}', 1), '')"
    return f"coalesce(try_cast({found} as integer), 1)"


def _source(stream: str, has_files: bool) -> str:
    """Return SQL for the entries of a stream, with the path of their file."""
    keys = {"ts": "TIMESTAMP", "seq": "BIGINT", **_KEYS[stream]}
    if not has_files:
        nulls = ", ".join(f'null::{kind} as "{name}"' for name, kind in keys.items())
        return f"(select {nulls}, null::VARCHAR as filename where false)"
    columns = ", ".join(f"{_quoted(n)}: {_quoted(kind)}" for n, kind in keys.items())
    return f"""read_json(getvariable('mlog_{stream}'), format = 'newline_delimited',
        compression = 'uncompressed', hive_partitioning = false, filename = true,
        ignore_errors = true, columns = {{{columns}}})"""


def _without_zones(statement: str, kinds: list[str]) -> str:
    """Return a query with what has a time zone as text."""
    columns = (
        f"#{place}::VARCHAR" if "TIME ZONE" in kind else f"#{place}"
        for place, kind in enumerate(kinds, 1)
    )
    return f"select {', '.join(columns)} from (\n{statement}\n)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# --- DuckDB --------------------------------------------------------------------------


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as exc:
        raise MissingDuckDBError(
            'this needs DuckDB: pip install "mlog-runs[query]"'
        ) from exc
    return duckdb


class _told:
    """Turns an error of DuckDB's into a `QueryError`."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        """Translate what was raised."""
        if isinstance(exc, _duckdb().Error):
            raise QueryError(_reworded(str(exc))) from exc


def _reworded(text: str) -> str:
    """Return DuckDB's message on one line, and below it the SQL it is about."""
    text, *place = re.split(r"\n\s*(?=LINE \d+:)", text, maxsplit=1)
    text = " ".join(text.split())
    if "Table with name" in text:
        guess = _GUESS.search(text)
        if guess is not None and guess[1] not in COLUMNS:  # one of DuckDB's own
            text = text.replace(guess[0], "")
        text += f" The tables are {', '.join(COLUMNS)}."
    return "\n".join([text or "DuckDB could not run this", *place])


def _lock(connection: "DuckDBPyConnection", allowed: Iterable[Path]) -> None:
    """Let a connection read below some folders, and do nothing else outside itself."""
    real = filter(_is_utf8, map(os.path.realpath, allowed))
    named = dict.fromkeys(name for path in real for name in (path, _pattern(path)))
    folders = ", ".join(_quoted(os.path.join(name, "")) for name in named)
    connection.execute(f"set allowed_directories = [{folders}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _rows(connection: "DuckDBPyConnection") -> Iterator[tuple[Any, ...]]:
    with _told():
        while rows := _wait(connection, connection.fetchmany, 1_000):
            yield from rows


def _wait(
    connection: "DuckDBPyConnection", call: Callable[[_T], _Result], argument: _T
) -> _Result:
    """Let a connection do what may take long; Ctrl-C ends it, which alone it cannot."""
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(call, argument).result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _segments_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield stream and path of the segments of a run, in the order of their names.

    The path is a pattern that only it fits, which is what DuckDB takes it for.

    Raises:
        OSError: The folder cannot be read, or a segment of it.
        UnicodeError: Its path is no text.
    """
    folder = Path(os.path.realpath(folder))
    if not _is_utf8(os.fspath(folder)):
        raise UnicodeError(f"the path {os.fspath(folder)!r} is not UTF-8")
    with os.scandir(folder) as entries:
        files = [e.name for e in entries if e.is_file(follow_symlinks=False)]
    for name in sorted(files):
        segment = parse_segment(name)
        if segment is not None:
            path = os.path.join(folder, name)
            if not os.access(path, os.R_OK):
                raise PermissionError(f"{path} may not be read")
            yield segment.stream, _pattern(path)


def _pattern(path: str) -> str:
    """Return a pattern that only one path fits."""
    return _GLOB.sub(r"[\g<0>]", path)


def _is_utf8(path: str) -> bool:
    """Whether DuckDB can be told of a path."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- facts of runs -------------------------------------------------------------------


def _insert(
    connection: "DuckDBPyConnection", name: str, states: Iterable[RunState]
) -> None:
    """Put the facts of runs into a table."""
    rows = [row for state in states for row in rows_of(name, state)]
    shape = {n: kind for n, kind in COLUMNS[name].items() if n != "number"}
    selected = "*, try_cast(value as double) as number" if name == "params" else "*"
    connection.execute(
        f"""insert into {name} by name select {selected} from (select unnest(fact) from (
            select unnest(from_json($1, {_quoted(orjson.dumps([shape]).decode())}))
            as fact))""",
        [orjson.dumps(rows).decode()],
    )
