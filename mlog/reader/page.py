"""One run as a page, from its files: HTML for notebooks and reports, and plain text.

Invariants:
    - The HTML is a fragment that needs nothing: no script, no request, its styles
      inside. They apply to it alone.
    - Whatever was logged is text: escaped, and control characters shown. A file that is
      a link, or lies outside of the run's folder, is not opened.
    - Work and size are bounded: of what is too much the beginning is shown, of the log
      the end, of points a sample; and the page says so.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from mlog.folder import read_from
from mlog.layout import parse_segment
from mlog.reader.curves import (
    Summary,
    exact,
    markup,
    short,
    shown,
    sparkline,
    summarize,
    svg_curve,
)
from mlog.reader.follow import parse_line
from mlog.reader.series import History, are_numbers, read_histories
from mlog.reader.state import Artifact, RunState, read_state

__all__ = ["LogFacts", "Page", "page_html", "page_text", "read_page"]
__all__ += ["run_html", "run_text"]

_ALL_SERIES = 8 << 20  # bytes of metrics up to which all are read
_MAX_SERIES = 40 << 20  # up to which those that are drawn are read
_BLOCKS, _BLOCK = 512, 1 << 15  # what is read of longer ones
_MAX_LOG = 32 << 20  # bytes of logs, from their ends
_MAX_ROWS = 300  # metrics, params and tags
_MAX_FILES = 60
_MAX_LINES = 24  # of each part of a text
_MAX_VALUE = 300  # characters of a name or a value
_MAX_TRACEBACK = 10_000
_MAX_IMAGES = 6
_MAX_IMAGE = 200_000  # bytes of one image
_ALL_IMAGES = 380_000  # bytes of all, so that the page stays below 1 MB
_OPEN = 20  # a longer list is folded at first

_SYMBOLS = {
    **{"Running": "●", "Completed": "✓", "Failed": "✕"},
    **{"Canceled": "■", "NotResponding": "?"},
}
_SAMPLE = "So many points: curves show a sample of them, and may miss spikes."
_ERRORS = (b"ERROR", b"CRITICAL")
_MAGIC = (
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
)


# --- what a page shows -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the logs say of trouble.

    Attributes:
        warnings: Entries of level WARNING.
        errors: Entries of level ERROR and CRITICAL.
        last_error: The newest of those, as it was written.
        is_part: Whether the logs were too long to be read from their beginnings.
    """

    warnings: int = 0
    errors: int = 0
    last_error: dict[str, Any] | None = None
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page of a run shows, read once.

    Attributes:
        state: What the events say.
        histories: Points of the metrics that can be drawn, by name.
        summaries: All metrics in numbers.
        others: What was logged and is no number: how often, and the last as a text.
        log: What the logs say.
        is_sample: Whether there are too many points to draw all, so that `histories`
            has only some of them.
    """

    state: RunState
    histories: Mapping[str, History]
    summaries: Mapping[str, Summary]
    others: Mapping[str, tuple[int, str]]
    log: LogFacts
    is_sample: bool = False


def run_html(folder: Path, *, max_curves: int = 12) -> str:
    """Return a run as an HTML fragment, which needs nothing besides itself.

    Args:
        folder: The run's.
        max_curves: Most metrics to draw, those first logged; all are in the table.

    Raises:
        RunNotFoundError: There is no run in the folder.
        OSError: The folder may not be read.
    """
    return page_html(read_page(folder, most=max_curves), max_curves=max_curves)


def run_text(folder: Path, *, width: int = 100) -> str:
    """Return a run as plain text, for terminals.

    Args:
        folder: The run's.
        width: Most characters of a line, at least 60.

    Raises:
        RunNotFoundError: There is no run in the folder.
        OSError: The folder may not be read.
    """
    return page_text(read_page(folder, most=_MAX_LINES), width=width)


def read_page(folder: Path, *, most: int = 12) -> Page:
    """Read what a page shows of a run.

    Args:
        folder: The run's.
        most: How many metrics to read the points of, where there are many points.

    Raises:
        RunNotFoundError: There is no run in the folder.
        OSError: The folder may not be read.
    """
    state = read_state(folder)
    size = sum(status.st_size for _, status in _segments(folder, "metrics"))
    names = _first_names(state, most) if size > _ALL_SERIES else None
    if size > _MAX_SERIES:
        found = _sample(state, names)
    else:
        found = read_histories(folder, names)
    histories = {name: h for name, h in found.items() if _is_drawn(h)}
    others = {name: _other(h) for name, h in found.items() if name not in histories}
    summaries = {name: _summary(facts) for name, facts in state.metrics.items()}
    for name, history in histories.items():
        if size <= _MAX_SERIES or name not in summaries:
            summaries[name] = summarize(history.steps, history.values)
    log = _read_log(folder)
    return Page(state, histories, summaries, others, log, size > _MAX_SERIES)


def _first_names(state: RunState, most: int) -> list[str] | None:
    """Return the first metrics with several points; None where none are known."""
    several = (n for n, facts in state.metrics.items() if _summary(facts).count > 1)
    return list(islice(several, max(1, most))) or None


def _is_drawn(history: History) -> bool:
    return are_numbers(_listed(history.values))


def _other(history: History) -> tuple[int, str]:
    """Return how often something was logged that is no number, and what it was last."""
    return len(history), _line(_value(_listed(history.values)[-1]), 120)


def _listed(values: Any) -> list[Any]:
    listed: list[Any] = values.tolist() if hasattr(values, "tolist") else values
    return listed


def _segments(folder: Path, stream: str) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a stream, the last changed first."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            segment = parse_segment(entry.name)
            if segment is not None and segment.stream == stream:
                found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda one: one[1].st_mtime_ns, reverse=True)


def _summary(facts: Mapping[str, Any]) -> Summary:
    """Return what the end of a run says of a metric."""
    count = facts.get("count")
    return Summary(
        count=count if isinstance(count, int) else 0,
        last=_number(facts.get("last")),
        low=_number(facts.get("min")),
        high=_number(facts.get("max")),
    )


def _number(value: Any) -> float:
    try:
        return float(value)  # also "NaN" and "-Infinity", as the format writes them
    except (TypeError, ValueError, OverflowError):
        return math.nan


# --- a sample of the points --------------------------------------------------------


def _sample(state: RunState, names: list[str] | None) -> dict[str, History]:
    """Return some of the points of metrics, evenly out of the files.

    Args:
        state: Of the run; ranks other than 0 are left out.
        names: Which metrics. None: all.
    """
    ranks = {writer.name: writer.rank for writer in state.writers}
    wanted = None if names is None else frozenset(names)
    points: dict[str, tuple[list[int], list[float]]] = {
        name: ([], []) for name in names or ()
    }
    for entry in _some_entries(state.folder, lambda writer: not ranks.get(writer)):
        metric, step = _mapping(entry.get("metric")), entry.get("step")
        for name in metric if wanted is None else wanted & metric.keys():
            steps, values = points.setdefault(name, ([], []))
            steps.append(step if isinstance(step, int) else len(steps))
            values.append(_number(metric[name]))
    return {
        name: History(name, steps, values, [], has_steps=True)
        for name, (steps, values) in points.items()
        if values
    }


def _some_entries(
    folder: Path, is_wanted: Callable[[str], bool]
) -> Iterator[dict[str, Any]]:
    """Yield entries of the metrics of some writers, from blocks evenly apart."""
    found = [
        (path, status.st_size)
        for path, status in reversed(_segments(folder, "metrics"))
        if (segment := parse_segment(path.name)) and is_wanted(segment.writer)
    ]
    apart = max(_BLOCK, sum(size for _, size in found) // _BLOCKS)
    for path, size in found:
        for start in range(0, size, apart):
            lines = _whole_lines(path, start, min(_BLOCK, size - start))
            entries = map(parse_line, lines.splitlines())
            yield from (entry for entry in entries if entry is not None)


# --- the log -----------------------------------------------------------------------


def _read_log(folder: Path) -> LogFacts:
    """Count warnings and errors, and find the last error, without parsing all lines."""
    warnings, errors, left, is_part = 0, 0, _MAX_LOG, False
    last: dict[str, Any] | None = None
    for path, status in _segments(folder, "logs"):
        size = min(left, status.st_size)
        is_part |= size < status.st_size
        left -= size
        content = _whole_lines(path, status.st_size - size, size)
        warnings += sum(1 for _ in _lines_of(content, b"WARNING"))
        for level in _ERRORS:
            places = list(_lines_of(content, level))
            errors += len(places)
            if places:
                last = _later(last, _entry_at(content, places[-1]))
    return LogFacts(warnings, errors, last, is_part)


def _whole_lines(path: Path, start: int, size: int) -> bytes:
    """Return the whole lines of a part of a file; b"" where it cannot be read."""
    try:
        with read_from(path) as file:
            file.seek(start)
            content = file.read(size)
    except OSError:
        return b""
    begin = content.find(b"\n") + 1 if start else 0
    return content[begin : content.rfind(b"\n") + 1]


def _lines_of(content: bytes, level: bytes) -> Iterator[int]:
    """Yield where the lines of a level begin.

    The level is the third key of an entry; what looks the same farther behind is some
    field of the caller's.
    """
    word = b'"level":"%b"' % level
    place = content.find(word)
    while place >= 0:
        begin = content.rfind(b"\n", 0, place) + 1
        if content.count(b'"', begin, place) == 6:  # ts, its value, seq
            yield begin
        place = content.find(word, place + 1)


def _entry_at(content: bytes, begin: int) -> dict[str, Any] | None:
    return parse_line(content[begin : content.find(b"\n", begin)])


def _later(
    one: dict[str, Any] | None, other: dict[str, Any] | None
) -> dict[str, Any] | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda entry: str(entry["ts"]))


def _error_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return an entry of the log as what `run.end` says of an error."""
    error = _mapping(entry.get("exc"))
    msg = _text(entry.get("msg")) or _text(error.get("msg"))
    where = _text(entry.get("logger"))
    return {
        "type": f"{where}: {_text(entry.get('level'))}" if where else "",
        "msg": msg,
        "traceback": _text(error.get("traceback")) or _text(entry.get("stack")),
    }


# --- words for both ----------------------------------------------------------------


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _cut(text: str, most: int = _MAX_VALUE) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _line(text: str, most: int = _MAX_VALUE) -> str:
    r"""Return a text on one line, cut, with controls shown; newlines as `\n`."""
    text = shown(_cut(text, most)).replace("\n", "\\n").replace("\t", "\\t")
    return _cut(text, most)


def _label(text: str, most: int = _MAX_VALUE) -> str:
    """Return a text on one line for HTML."""
    return markup(_line(text, most))


def _value(value: Any) -> str:
    """Return a param's value: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return repr(value)


def _moment(ts: str | None) -> str:
    """Return a time without fractions: `2026-11-23 18:27:00 UTC`."""
    return f"{ts[:10]} {ts[11:19]} UTC" if ts else ""


def _span(seconds: float | None) -> str:
    """Return a duration in the two greatest units that fit: `1 h 42 min`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    first = next(n for n, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def _bytes(size: int) -> str:
    """Return a size with its unit: `12.3 kB`."""
    if size < 1000:
        return f"{size} B"
    power = min(4, (len(str(size)) - 1) // 3)
    return f"{size / 1000**power:.1f} {' kMGT'[power]}B"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def _facts(page: Page) -> dict[str, str]:
    """Return what there is to say of a run besides its name and status."""
    state = page.state
    git = _mapping(state.start.get("git"))
    commit = _text(git.get("commit"))[:10]
    hosts = {writer.host: None for writer in state.writers if writer.host}
    several = len(state.writers) > 1
    facts = {
        "id": state.run_id,
        "started": _moment(state.created),
        "duration": _span(state.duration),
        "attempt": str(state.attempt) if state.attempt > 1 else "",
        "children": f"{len(state.children):,}" if state.children else "",
        "parent": Path(state.parent).name if state.parent else "",
        "host": ", ".join(islice(hosts, 4)),
        "processes": str(len(state.writers)) if several else "",
        "log": _trouble(page.log),
        "commit": " ".join(filter(None, (commit, _text(git.get("branch"))))),
    }
    return {name: text for name, text in facts.items() if text}


def _heading(state: RunState) -> tuple[str, str]:
    """Return experiment and name."""
    return _line(state.experiment or "?"), _line(state.name or state.run_id)


def _trouble(log: LogFacts) -> str:
    """Say how many warnings and errors there are."""
    counts = {"warning": log.warnings, "error": log.errors}
    texts = [_count(number, noun) for noun, number in counts.items() if number]
    where = f" in the last {_MAX_LOG >> 20} MB of the log" if log.is_part else ""
    return (", ".join(texts) or "no warnings or errors") + where


def _errors(page: Page) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what went wrong: what ended the run, and the last error in its log."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    if page.state.error:
        found.append(("Ended by", page.state.error))
    entry = page.log.last_error
    if entry is not None and not _is_same(entry, page.state.error):
        found.append((f"Last error, {_moment(_text(entry['ts']))}", _error_of(entry)))
    return found


def _is_same(entry: Mapping[str, Any], error: Mapping[str, Any] | None) -> bool:
    """Whether an entry tells of the exception that ended the run."""
    exc = _mapping(entry.get("exc"))
    if not exc or not error:
        return False
    return all(exc.get(key) == error.get(key) for key in ("type", "msg"))


def _odd(found: Summary) -> str:
    """Say how many points are not finite."""
    counts = {"NaN": found.nan, "Inf": found.up, "-Inf": found.down}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _spark(history: History | None, width: int) -> str:
    """Return the curve of blocks of a metric with more than one point."""
    if history is None or len(history) < 2:
        return ""
    return sparkline(history.values, width)


def _rest(number: int) -> str:
    return f"… and {number:,} more"


def _curves(page: Page, most: int) -> Iterator[History]:
    """Yield what is worth a picture: the first metrics with more than one point."""
    found = (h for h in page.histories.values() if len(h) > 1)
    return islice(found, max(0, most))


# --- HTML --------------------------------------------------------------------------

_LIGHT = (
    "color-scheme:light;--bg:#fff;--fg:#1b1f24;--muted:#57606a;--rule:#d5dae0;"
    "--soft:#f4f6f8;--run:#0b62a8;--ok:#2b7a3d;--warn:#8a5a00;--mlog-bad:#b3261e;"
    "--on-bad:#fff;--mlog-line:#0b62a8;"
)
_DARK = (
    "color-scheme:dark;--bg:#101317;--fg:#d9dee5;--muted:#8b96a5;--rule:#2d343d;"
    "--soft:#191e24;--run:#6cb2ff;--ok:#6fd08c;--warn:#e6b450;--mlog-bad:#ff7b72;"
    "--on-bad:#101317;--mlog-line:#6cb2ff;"
)
# Notebooks have a theme of their own, which counts more than that of the system.
_HOST_LIGHT = ('[data-jp-theme-light="true"]', ".vscode-light", "html[theme=light]")
_HOST_DARK = ('[data-jp-theme-light="false"]', ".vscode-dark", "html[theme=dark]")

# "&" stands for the fragment, twice, so that a notebook's rules for tables give way.
_STYLE = """
&{LIGHT}
@media(prefers-color-scheme:dark){&{DARK}}
HOST_LIGHT{LIGHT}
HOST_DARK{DARK}
&{background:var(--bg);color:var(--fg);border:1px solid var(--rule);padding:14px 16px;
font:13px/20px system-ui,sans-serif;font-variant-numeric:tabular-nums;max-width:1180px;
overflow-wrap:anywhere;box-sizing:border-box}
& *{box-sizing:border-box}
& h3,& h4,& dl,& dd,& ul,& figure{margin:0;padding:0}
& h3{font-size:17px;line-height:24px;font-weight:600;color:var(--fg)}
& h3 span{color:var(--muted);font-weight:400}
& h4,& summary{font-size:13px;line-height:20px;font-weight:600;color:var(--fg)}
& summary{cursor:pointer}
& summary:focus-visible,& a:focus-visible,& .scroll:focus-visible{
outline:2px solid var(--run);outline-offset:1px}
& a{color:var(--run);text-decoration:underline}
& header{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center}
& section{margin-top:14px;border-top:1px solid var(--rule);padding-top:10px}
& .badge{padding:0 9px;border:1.5px solid var(--muted);border-radius:11px;
font-weight:600;white-space:nowrap;color:var(--muted)}
& .Running{border-color:var(--run);color:var(--run)}
& .Completed{border-color:var(--ok);color:var(--ok)}
& .Failed{border-color:var(--mlog-bad);background:var(--mlog-bad);color:var(--on-bad);
border-radius:3px}
& .Canceled{border-style:double;border-width:3px;border-radius:3px}
& .NotResponding{border:1.5px dashed var(--warn);color:var(--warn)}
& .facts{display:flex;flex-wrap:wrap;gap:2px 20px;margin-top:8px}
& .facts div{display:flex;gap:6px}
& dt,& .muted{color:var(--muted);font-weight:400}
& dt,& dd{width:auto;float:none;display:block;margin:0;padding:0}
& .facts dt{flex:none}
& .pairs dt{flex:0 1 auto;min-width:25%}
& p{margin:0 0 8px}
& .about{margin:6px 0 0;max-width:75ch}
& .pairs{columns:300px;column-gap:28px;margin-top:6px}
& .pairs div{display:flex;gap:12px;justify-content:space-between;
border-bottom:1px solid var(--rule);break-inside:avoid;padding:1px 0}
& .pairs dd{text-align:right}
& .pairs dd,& pre,& .spark,& .files li{font:12px/18px ui-monospace,monospace;
color:var(--fg)}
& .tags,& .files{list-style:none}
& .tags{display:flex;flex-wrap:wrap;gap:4px 6px;margin-top:10px}
& .tags li{border:1px solid var(--rule);background:var(--soft);padding:0 7px;margin:0}
& .error{border-left:3px solid var(--mlog-bad);padding:2px 0 2px 10px;margin-top:8px}
& .error b{color:var(--mlog-bad)}
& pre{background:var(--soft);padding:8px 10px;margin:4px 0;overflow:auto;
max-height:320px;white-space:pre;overflow-wrap:normal;border:0}
& .curves{display:grid;gap:14px 18px;margin:4px 0 12px;
grid-template-columns:repeat(auto-fill,minmax(min(240px,100%),1fr))}
& .curves svg{width:100%;height:auto;display:block}
& .scroll{overflow:auto;max-height:330px;margin-top:6px}
& table{border-collapse:collapse;table-layout:auto;width:100%;margin:0;border:0;font-size:13px}
& tr:nth-child(n){background:none}
& tbody tr:hover{background:var(--soft)}
& th,& td{text-align:right;padding:2px 0 2px 12px;border:0;
border-bottom:1px solid var(--rule);white-space:nowrap;color:var(--fg);
vertical-align:baseline;max-width:none}
& th:last-child{text-align:left}
& thead th{color:var(--muted);font-weight:400;position:sticky;top:0;
background:var(--bg)}
& th:first-child{text-align:left;padding-left:0;font-weight:500;white-space:normal;
min-width:110px}
& .spark{text-align:left;color:var(--mlog-line);width:34%}
& .bad{color:var(--mlog-bad)}
& .images{display:flex;flex-wrap:wrap;gap:12px;margin:6px 0 10px;align-items:flex-end}
& figure{max-width:260px}
& figure img{display:block;max-width:100%;max-height:200px;background:#fff;
border:1px solid var(--rule);margin:0}
& figcaption{font-size:12px;line-height:18px;color:var(--muted)}
& .files{columns:360px;column-gap:28px;margin-top:6px}
& .files li{margin:0;break-inside:avoid}
"""


def page_html(page: Page, *, max_curves: int = 12) -> str:
    """Return a page as an HTML fragment with its style.

    Args:
        page: What to show.
        max_curves: Most metrics to draw.
    """
    parts = [
        f"<style>{_style()}</style>",
        _head_html(page),
        _tags_html(page.state.tags),
        _trouble_html(page),
        _metrics_html(page, max_curves),
        _params_html(page.state.params),
        _artifacts_html(page.state),
    ]
    return f'<div class="mlog-run">{"".join(parts)}</div>'


def _style() -> str:
    """Return the rules, each of them for the fragment alone."""
    own = ".mlog-run.mlog-run"
    rules = _STYLE.replace("\n", "")
    rules = rules.replace("HOST_LIGHT", ",".join(f"{h} &" for h in _HOST_LIGHT))
    rules = rules.replace("HOST_DARK", ",".join(f"{h} &" for h in _HOST_DARK))
    rules = rules.replace("{LIGHT}", f"{{{_LIGHT}}}").replace("{DARK}", f"{{{_DARK}}}")
    return rules.replace("&", own)


def _head_html(page: Page) -> str:
    """Return name, status and facts."""
    state = page.state
    experiment, name = map(markup, _heading(state))
    badge = state.status if state.status in _SYMBOLS else ""
    symbol = _SYMBOLS.get(state.status, "…")
    facts = "".join(
        f"<div><dt>{label}</dt><dd>{_label(text)}</dd></div>"
        for label, text in _facts(page).items()
    )
    about = _cut(state.description, 2_000)
    return (
        f"<header><h3><span>{experiment} /</span> {name}</h3>"
        f'<span class="badge {badge}"><span aria-hidden="true">{symbol}</span> '
        f"{_label(state.status)}</span></header>"
        f'<dl class="facts">{facts}{_folder_html(state.folder)}</dl>'
        + (f'<p class="about">{markup(about)}</p>' if about else "")
    )


def _folder_html(folder: Path) -> str:
    path = folder.absolute()
    return (
        f'<div><dt>folder</dt><dd><a href="{markup(path.as_uri())}">'
        f"{_label(str(path), 1_000)}</a></dd></div>"
    )


def _tags_html(tags: Mapping[str, str | None]) -> str:
    if not tags:
        return ""
    items = [
        f'<li><span class="muted">{_label(key)}</span> {_label(text or "")}</li>'
        for key, text in islice(tags.items(), _MAX_ROWS)
    ]
    items += [f"<li>{_rest(len(tags) - _MAX_ROWS)}</li>"] * (len(tags) > _MAX_ROWS)
    return f'<ul class="tags" aria-label="tags">{"".join(items)}</ul>'


def _trouble_html(page: Page) -> str:
    """Return what went wrong, with the tracebacks folded."""
    errors = "".join(_error_html(label, error) for label, error in _errors(page))
    return f"<section>{errors}</section>" if errors else ""


def _error_html(label: str, error: Mapping[str, Any]) -> str:
    kind, msg = _text(error.get("type")), _text(error.get("msg"))
    text = f"<b>{_label(kind)}</b> {markup(_cut(msg, 2_000))}"
    traceback = _text(error.get("traceback"))
    below = ""
    if traceback:
        tail = markup(_tail(traceback))
        below = f"<details><summary>Traceback</summary><pre>{tail}</pre></details>"
    above = f'<div class="muted">{markup(label)}</div>'
    return f'<div class="error">{above}{text}{below}</div>'


def _tail(traceback: str) -> str:
    """Return the end of a traceback, where the error is."""
    if len(traceback) <= _MAX_TRACEBACK:
        return traceback
    return "…" + traceback[-_MAX_TRACEBACK:]


def _metrics_html(page: Page, max_curves: int) -> str:
    """Return the curves, and all metrics as a table."""
    count = len(page.summaries) + len(page.others)
    if not count:
        return ""
    curves = "".join(
        svg_curve(h.steps, h.values, title=_line(h.name), height=110)
        for h in _curves(page, max_curves)
    )
    words = ("name", "last", "min", "max", "points", "curve")
    head = "".join(f'<th scope="col">{word}</th>' for word in words)
    table = (
        '<div class="scroll" tabindex="0" role="group" aria-label="metrics">'
        f"<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(_rows_html(page))}</tbody></table></div>"
    )
    drawn = f'<div class="curves">{curves}</div>' if curves else ""
    drawn += f'<p class="muted">{_SAMPLE}</p>' if page.is_sample else ""
    return f"<section>{drawn}{_folded('Metrics', count, table)}</section>"


def _rows_html(page: Page) -> Iterator[str]:
    for name, found in islice(page.summaries.items(), _MAX_ROWS):
        yield _row_html(name, found, page.histories.get(name))
    for name, (count, text) in islice(page.others.items(), _MAX_ROWS):
        yield (
            f'<tr><th scope="row">{_label(name)}</th><td colspan="3">{markup(text)}</td>'
            f"<td>{count:,}</td><td></td></tr>"
        )
    more = max(0, len(page.summaries) - _MAX_ROWS)
    more += max(0, len(page.others) - _MAX_ROWS)
    if more:
        yield f'<tr><th scope="row">{_rest(more)}</th><td colspan="5"></td></tr>'


def _row_html(name: str, found: Summary, history: History | None) -> str:
    cells = "".join(_number_html(v) for v in (found.last, found.low, found.high))
    odd = f' <span class="bad">{_odd(found)}</span>' if _odd(found) else ""
    return (
        f'<tr><th scope="row">{_label(name)}</th>{cells}<td>{found.count:,}</td>'
        f'<td class="spark">{_spark(history, 24)}{odd}</td></tr>'
    )


def _number_html(value: float) -> str:
    """Return a cell with a number in short, exact in its tooltip."""
    return f'<td title="{exact(value)}">{short(value)}</td>'


def _folded(title: str, count: int, body: str) -> str:
    """Return a part with a heading that folds it; a long one is folded at first."""
    is_open = ' open=""' if count <= _OPEN else ""
    return (
        f'<details{is_open}><summary>{title} <span class="muted">{count:,}</span>'
        f"</summary>{body}</details>"
    )


def _params_html(params: Mapping[str, Any]) -> str:
    if not params:
        return ""
    items = "".join(
        f"<div><dt>{_label(name)}</dt><dd>{_label(_value(value))}</dd></div>"
        for name, value in islice(params.items(), _MAX_ROWS)
    )
    more = _rest(len(params) - _MAX_ROWS) if len(params) > _MAX_ROWS else ""
    body = f'<dl class="pairs">{items}</dl><div class="muted">{more}</div>'
    return f"<section>{_folded('Params', len(params), body)}</section>"


def _artifacts_html(state: RunState) -> str:
    """Return the small images, and the names of all files."""
    if not state.artifacts:
        return ""
    images = "".join(
        f'<figure><img alt="" src="{url}"/>'
        f"<figcaption>{_label(path)}</figcaption></figure>"
        for path, url in _images(state)
    )
    shown_first = islice(state.artifacts.values(), _MAX_FILES)
    items = "".join(
        f'<li>{_label(one.path)} <span class="muted">{_bytes(one.size)}</span></li>'
        for one in shown_first
    )
    more = len(state.artifacts) - _MAX_FILES
    items += f'<li class="muted">{_rest(more)}</li>' if more > 0 else ""
    files = _folded(
        "Artifacts", len(state.artifacts), f'<ul class="files">{items}</ul>'
    )
    drawn = f'<div class="images">{images}</div>' if images else ""
    return f"<section>{drawn}{files}</section>"


# --- images ------------------------------------------------------------------------


def _images(state: RunState) -> Iterator[tuple[str, str]]:
    """Yield the small images among the artifacts, and their content as `data:` URLs."""
    import base64

    left, number = _ALL_IMAGES, 0
    for artifact in state.artifacts.values():
        if number == _MAX_IMAGES:
            return
        if not artifact.media_type.startswith("image/") or artifact.size > left:
            continue
        content = _content(state.folder, artifact)
        kind = _image_type(content)
        if content and kind and len(content) <= min(left, _MAX_IMAGE):
            left, number = left - len(content), number + 1
            yield (
                artifact.path,
                f"data:{kind};base64,{base64.b64encode(content).decode()}",
            )


def _content(folder: Path, artifact: Artifact) -> bytes:
    """Return a small artifact; b"" when it cannot be read, or is no file of the run."""
    base = folder / "artifacts"
    path = base / artifact.path
    try:
        if path.resolve() != base.resolve() / artifact.path:  # a link, or `..`
            return b""
        with read_from(path) as file:
            return file.read(_MAX_IMAGE + 1)
    except (OSError, ValueError, RuntimeError):
        return b""


def _image_type(content: bytes) -> str:
    """Return the media type of an image by its beginning; "" for what is none.

    An SVG is inert as an image: browsers run no script in it and load nothing for it.
    """
    for kind, magic in _MAGIC:
        if content.startswith(magic):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    head = content[:1_000].lstrip(b"\xef\xbb\xbf \t\r\n")
    is_svg = head.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg"))
    return "image/svg+xml" if is_svg and b"<svg" in content[:4_000] else ""


# --- text --------------------------------------------------------------------------


def page_text(page: Page, *, width: int = 100) -> str:
    """Return a page as plain text, without a newline at its end.

    Args:
        page: What to show.
        width: Most characters of a line, at least 60.
    """
    if width < 60:
        raise ValueError(f"width must be at least 60, got {width!r}")
    lines = [
        *_head_lines(page),
        *_error_lines(page, width),
        *_metric_lines(page, width),
        *_other_lines(page),
        *_pair_lines(page.state),
        *_file_lines(page.state),
    ]
    return "\n".join(_cut(line, width) for line in lines)


def _head_lines(page: Page) -> Iterator[str]:
    state = page.state
    experiment, name = _heading(state)
    symbol = _SYMBOLS.get(state.status, "…")
    yield f"{experiment} / {name}  [{symbol} {_line(state.status)}]"
    facts = _facts(page) | {"folder": str(state.folder.absolute())}
    tags = (f"{key}={text or ''}" for key, text in state.tags.items())
    if state.tags:
        facts["tags"] = "  ".join(tags)
    if state.description:
        facts["about"] = state.description
    for label, text in facts.items():
        yield f"  {label:<9} {_line(text, 1_000)}"


def _error_lines(page: Page, width: int) -> Iterator[str]:
    for label, error in _errors(page):
        kind, msg = _text(error.get("type")), _text(error.get("msg"))
        yield f"{label}: {_line(f'{kind} {msg}'.strip(), width)}"
        last = _tail(_text(error.get("traceback"))).rstrip().split("\n")
        yield from (f"    {_line(line, width)}" for line in last[-6:] if line)


def _metric_lines(page: Page, width: int) -> Iterator[str]:
    """Yield the metrics as a table, each with its curve of blocks."""
    total = len(page.summaries)
    if not total:
        return
    yield f"metrics ({total:,})"
    rows = [
        _metric_cells(name, found, page.histories.get(name))
        for name, found in islice(page.summaries.items(), _MAX_LINES)
    ]
    yield from _table([("", "", "last", "min", "max", "points", ""), *rows], width)
    if total > _MAX_LINES:
        yield f"  {_rest(total - _MAX_LINES)}"
    if page.is_sample:
        yield f"  {_SAMPLE}"


def _other_lines(page: Page) -> Iterator[str]:
    """Yield what was logged and is no number."""
    if page.others:
        yield f"values ({len(page.others):,})"
    for name, (count, text) in islice(page.others.items(), _MAX_LINES):
        times = f" ({count:,} times)" if count > 1 else ""
        yield f"  {_line(name, 60)}{times}  {text}"
    yield from _more(page.others)


def _metric_cells(
    name: str, found: Summary, history: History | None
) -> tuple[str, ...]:
    numbers = (short(found.last), short(found.low), short(found.high))
    spark = _spark(history, 20)
    return (_line(name, 60), spark, *numbers, f"{found.count:,}", _odd(found))


def _table(rows: list[tuple[str, ...]], width: int) -> Iterator[str]:
    """Yield rows in columns; the first, a name, is cut to what the others leave."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sizes[0] = min(sizes[0], max(8, width - sum(sizes[1:]) - 2 * len(sizes)))
    for name, spark, *numbers, note in rows:
        name = name if len(name) <= sizes[0] else "…" + name[1 - sizes[0] :]
        cells = [f"{name:<{sizes[0]}}", f"{spark:<{sizes[1]}}"]
        cells += [f"{n:>{size}}" for n, size in zip(numbers, sizes[2:-1], strict=True)]
        yield f"  {'  '.join([*cells, note])}".rstrip()


def _pair_lines(state: RunState) -> Iterator[str]:
    if state.params:
        yield f"params ({len(state.params):,})"
    names = list(islice(state.params, _MAX_LINES))
    size = min(32, max(map(len, map(_line, names)), default=0))
    for name in names:
        yield f"  {_line(name, 60):<{size}}  {_line(_value(state.params[name]))}"
    yield from _more(state.params)


def _file_lines(state: RunState) -> Iterator[str]:
    if state.artifacts:
        yield f"artifacts ({len(state.artifacts):,})"
    for artifact in islice(state.artifacts.values(), _MAX_LINES):
        yield f"  {_bytes(artifact.size):>9}  {_line(artifact.path)}"
    yield from _more(state.artifacts)


def _more(found: Mapping[str, Any]) -> Iterator[str]:
    if len(found) > _MAX_LINES:
        yield f"  {_rest(len(found) - _MAX_LINES)}"
