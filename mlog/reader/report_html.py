"""The parts of a report as HTML; see `mlog.reader.report` for what they keep to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mlog.reader.compare import (
    ABSENT,
    Comparison,
    MetricRow,
    Row,
    delta_text,
    run_names,
)
from mlog.reader.curves import markup
from mlog.reader.fields import mapping_from, text_from
from mlog.reader.numbers import exact, short
from mlog.reader.page_facts import SAMPLE, SYMBOLS, Page, heading, tail_of
from mlog.reader.page_html import page_html, undrawn
from mlog.reader.page_words import (
    cut,
    moment,
    one_line,
    rest_text,
    size_text,
    value_text,
)
from mlog.reader.report_curves import MOST_RUNS, overlay, swatch
from mlog.reader.report_errors import ErrorLines
from mlog.reader.report_files import files_html
from mlog.reader.series import History

__all__ = [
    "Part",
    "comparison_parts",
    "document",
    "errors_html",
    "last_lines_html",
    "run_part",
]

_CELLS = {"params": 2_000, "tags": 1_000, "metrics": 2_400, "packages": 1_200}
"""How many cells a table of a comparison has at most, so that its size is bounded."""

_MAX_PACKAGES = 1_000
_MAX_VALUE, _MAX_MESSAGE = 120, 2_000
_MAX_THEN = 8

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

_LIGHT = (
    "--bg:#fff;--fg:#1b1f24;--muted:#57606a;--rule:#d5dae0;--soft:#f4f6f8;"
    "--bad:#b3261e;--warn:#8a5a00;--info:#0b62a8;"
    "--run-1:#0b62a8;--run-2:#d9480f;--run-3:#2b7a3d;--run-4:#a8207e;"
)
_DARK = (
    "--bg:#101317;--fg:#d9dee5;--muted:#8b96a5;--rule:#2d343d;--soft:#191e24;"
    "--bad:#ff7b72;--warn:#e6b450;--info:#6cb2ff;"
    "--run-1:#6cb2ff;--run-2:#ff9a5a;--run-3:#6fd08c;--run-4:#f58ad0;"
)

# Whoever prints wants all of it on white paper, also what is folded or scrolls.
_STYLE = """
:root{color-scheme:light dark;LIGHT}
@media screen and (prefers-color-scheme:dark){:root{DARK}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:13px/20px system-ui,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:1240px;margin:0 auto;padding:16px 20px 40px}
h1{font-size:15px;line-height:22px;margin:0 0 12px;font-weight:600}
h1 span,.muted,td small,thead th{color:var(--muted);font-weight:400}
h2{font-size:15px;line-height:22px;margin:0 0 6px;font-weight:600}
h3{font-size:13px;margin:12px 0 4px;font-weight:600}
main .mlog-run.mlog-run{border:0;padding:0;max-width:none}
main>section,main>details{margin-top:18px;border-top:1px solid var(--rule);
padding-top:12px}
section details{margin-top:8px}
summary{cursor:pointer;font-weight:600}
summary:focus-visible,.wide:focus-visible{outline:2px solid var(--info);
outline-offset:1px}
.wide{overflow-x:auto;max-width:100%}
.wide table{border-collapse:collapse}
.wide th,.wide td{text-align:left;padding:3px 16px 3px 0;vertical-align:top;
border-bottom:1px solid var(--rule);min-width:110px;max-width:340px;font-weight:400}
.wide thead th{color:var(--fg);font-weight:600;vertical-align:bottom}
.wide th:first-child{position:sticky;left:0;background:var(--bg);min-width:90px;
max-width:260px;font-weight:500}
.wide td small{display:block;font-size:12px;line-height:16px;white-space:nowrap}
.wide td.mono,.known dd{font:12px/18px ui-monospace,monospace}
.swatch{display:block;flex:none;margin:2px 0}
summary .swatch{display:inline-block;vertical-align:middle}
.charts{display:grid;gap:16px 20px;margin-top:6px;
grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr))}
.charts svg{width:100%;height:auto;display:block}
.many .mlog-band{fill-opacity:.1;stroke-opacity:.25}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;margin:0;padding:0}
.legend li{display:flex;gap:6px;align-items:center}
.lines{border-left:3px solid var(--bad);margin:6px 0 14px;overflow-x:auto}
.lines table{border-collapse:collapse;width:100%;font:12px/18px ui-monospace,monospace}
.lines td{padding:1px 10px 1px 8px;vertical-align:top;white-space:nowrap}
.lines td:last-child{white-space:pre-wrap;width:99%;min-width:220px}
.lines .error{background:var(--soft)}
.lines .error td:nth-child(2){color:var(--bad);font-weight:700}
.lines .warning td:nth-child(2){color:var(--warn);font-weight:600}
.lines pre{margin:4px 0;padding:0;overflow-x:auto;white-space:pre-wrap}
.known{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:0}
.known dt{color:var(--muted)}
.known dd{margin:0}
.packages{columns:220px;column-gap:24px;list-style:none;margin:6px 0;padding:0;
font:12px/18px ui-monospace,monospace}
@media(max-width:560px){main{padding:12px 10px 30px}
.lines td:nth-child(3){display:none}}
@media print{:root,main .mlog-run.mlog-run{color-scheme:light;LIGHT--mlog-line:#0b62a8;
--mlog-bad:#b3261e;--ok:#2b7a3d;--run:#0b62a8;--on-bad:#fff}
main{max-width:none;padding:0}
details::details-content{content-visibility:visible;block-size:auto}
.wide,.lines,main .mlog-run.mlog-run .scroll,main .mlog-run.mlog-run pre{
overflow:visible;max-height:none;white-space:normal}
main .mlog-run.mlog-run pre{white-space:pre-wrap}
svg,tr,figure{break-inside:avoid}h2,h3,summary{break-after:avoid}}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a report that may be left out.

    Attributes:
        name: What it is, as HTML.
        html: The part itself.
    """

    name: str
    html: str


def document(pages: Sequence[Page], body: str, made: str) -> str:
    """Return a whole document.

    Args:
        pages: The runs it is about.
        body: HTML.
        made: When, as a text.
    """
    title, what = _titles(pages)
    style = _STYLE.replace("\n", "").replace("LIGHT", _LIGHT).replace("DARK", _DARK)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"/>'
        f'<meta name="color-scheme" content="light dark"/><title>{title}</title>'
        f"<style>{style}</style></head><body><main>"
        f"<h1>{what} <span>{markup(made)}</span></h1>{body}</main></body></html>\n"
    )


def _titles(pages: Sequence[Page]) -> tuple[str, str]:
    """Return the title of the window, and that of the page."""
    if len(pages) > 1:
        names = ", ".join(run_names([page.state for page in pages]))
        return f"{len(pages)} runs: {_label(names)}", f"{len(pages)} runs compared"
    state = pages[0].state
    experiment, name = map(markup, heading(state))
    return f"{experiment} / {name} · {_label(state.status)}", "Run report"


# --- one run -------------------------------------------------------------------------


def run_part(page: Page, errors: str, max_curves: int, place: int, runs: int) -> Part:
    """Return all there is to say of one run.

    Args:
        page: What is known of it.
        errors: Its last ones as HTML.
        max_curves: Most metrics to draw.
        place: Which one of the report's runs it is.
        runs: How many there are; those of several are folded.
    """
    body = page_html(page, max_curves=max_curves) + errors
    body += files_html(page.state) + _environment(page)
    experiment, name = map(markup, heading(page.state))
    title = f"{experiment} / {name}"
    if runs == 1:
        return Part(title, body)
    symbol = SYMBOLS.get(page.state.status, "…")
    summary = f"{swatch(place)} {title} {symbol} {_label(page.state.status)}"
    return Part(title, f"<details><summary>{summary}</summary>{body}</details>")


def errors_html(errors: Sequence[ErrorLines]) -> str:
    """Return the last errors with the lines around them."""
    if not errors:
        return ""
    groups = "".join(map(_group, errors))
    return f"<section><h2>Last errors, in their surroundings</h2>{groups}</section>"


def last_lines_html(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the last lines of a log."""
    rows = "".join(_line(entry, False) for entry in entries)
    return f"<section><h2>Last lines</h2>{_lines(rows)}</section>" if rows else ""


def _group(found: ErrorLines) -> str:
    where = f" · process {markup(found.writer)}" if found.writer else ""
    errors = frozenset(found.places)
    rows = "".join(_line(e, n in errors) for n, e in enumerate(found.entries))
    when = markup(moment(text_from(found.last["ts"])))
    then = _then(found)
    return f'<div class="muted">{when}{where}{then}</div>{_lines(rows)}'


def _then(found: ErrorLines) -> str:
    """Return what the metrics were when the last of some errors was logged."""
    told = [
        f"{name} {short(then.value)}"
        for name, then in list(found.then.items())[:_MAX_THEN]
    ]
    steps = [then.step for then in found.then.values() if then.step is not None]
    told[:0] = [f"step {steps[0]}"] if steps else []
    left = len(found.then) - _MAX_THEN
    told += [f"{left} more"] if left > 0 else []
    return f" · metrics then: {_label(', '.join(told), 500)}" if told else ""


def _lines(rows: str) -> str:
    return f'<div class="lines"><table><tbody>{rows}</tbody></table></div>'


def _line(entry: Mapping[str, Any], is_error: bool) -> str:
    """Return an entry of the log as a row; that of an error has its traceback."""
    level = text_from(entry.get("level"))
    kind = "error" if is_error else "warning" if level == "WARNING" else ""
    clock = _label(text_from(entry["ts"])[11:23])
    step = entry.get("step")
    text = markup(cut(text_from(entry.get("msg")), _MAX_MESSAGE))
    text += f' <span class="muted">step {step}</span>' if type(step) is int else ""
    extra = mapping_from(entry.get("extra"))
    pairs = " ".join(f"{key}={value_text(value)}" for key, value in extra.items())
    text += f' <span class="muted">{_label(pairs)}</span>' if pairs else ""
    trace = text_from(mapping_from(entry.get("exc")).get("traceback"))
    text += f"<pre>{markup(tail_of(trace))}</pre>" if trace and is_error else ""
    return (
        f'<tr class="{kind}"><td>{clock}</td><td>{_label(level)}</td>'
        f"<td>{_label(text_from(entry.get('logger')), 60)}</td><td>{text}</td></tr>"
    )


def _environment(page: Page) -> str:
    """Return what the run was computed with."""
    facts = "".join(
        f"<dt>{name}</dt><dd>{_label(text, 1_000)}</dd>"
        for name, text in _machine(page).items()
        if text
    )
    packages = mapping_from(page.state.environment.get("packages"))
    if not facts and not packages:
        return ""
    return (
        f'<section><h2>Environment</h2><dl class="known">{facts}</dl>'
        f"{_packages(packages)}</section>"
    )


def _machine(page: Page) -> dict[str, str]:
    start, found = page.state.start, page.state.environment
    git, cpu = mapping_from(start.get("git")), mapping_from(found.get("cpu"))
    argv, gpus, ram = start.get("argv"), found.get("gpu"), found.get("ram_bytes")
    changes = {True: "with changes", False: "without changes"}
    dirty = mapping_from(found.get("git")).get("dirty")
    counted = [text_from(cpu.get("model")), f"× {cpu.get('count')}" if cpu else ""]
    return {
        "command": " ".join(map(str, argv)) if isinstance(argv, list) else "",
        "folder": text_from(start.get("cwd")),
        "python": text_from(start.get("python")) or text_from(found.get("python")),
        "platform": text_from(found.get("platform")),
        "processor": " ".join(filter(None, counted)),
        "memory": size_text(ram) if type(ram) is int else "",
        "graphics": ", ".join(map(str, gpus)) if isinstance(gpus, list) else "",
        "commit": text_from(git.get("commit")),
        "branch": text_from(git.get("branch")),
        "remote": text_from(git.get("remote")),
        "working tree": changes[dirty] if isinstance(dirty, bool) else "",
    }


def _packages(packages: Mapping[str, Any]) -> str:
    if not packages:
        return ""
    items = "".join(
        f"<li>{_label(name)} {_label(value_text(version), 60)}</li>"
        for name, version in islice(packages.items(), _MAX_PACKAGES)
    )
    more = len(packages) - _MAX_PACKAGES
    items += f"<li>{rest_text(more)}</li>" if more > 0 else ""
    return _folded("Packages", len(packages), f'<ul class="packages">{items}</ul>')


# --- several runs --------------------------------------------------------------------


def comparison_parts(found: Comparison, max_curves: int) -> Iterator[Part]:
    """Yield what several runs have in common and what not, what differs first."""
    params = _pairs("params", "Params", found.params, found)
    yield Part("params", f"<section>{params}</section>")
    yield Part("curves", _curves(found, max_curves))
    yield Part("metrics", _metrics(found))
    if found.tags:
        tags = _pairs("tags", "Tags", found.tags, found)
        yield Part("tags", f"<section>{tags}</section>")
    facts = _table(map(_pair, found.facts), found, "facts of the runs")
    yield Part("facts", f"<section><h2>Runs</h2>{facts}</section>")
    different = [row for row in found.packages if row.differs]
    if different:
        table = _rows("packages", different, found)
        section = _folded("Packages that differ", len(different), table)
        yield Part("packages", f"<section>{section}</section>")
    yield Part("each run", "<section><h2>Each run</h2></section>")


def _pairs(kind: str, title: str, rows: Sequence[Row], found: Comparison) -> str:
    """Return the rows that differ, and folded below them the others."""
    different = [row for row in rows if row.differs]
    same = [row for row in rows if not row.differs]
    head = f'<h2>{title} that differ <span class="muted">{len(different):,}</span></h2>'
    if not different:
        text = "all the same" if same else "none"
        head = f'<h2>{title} <span class="muted">{text}</span></h2>{_legend(found)}'
    shown = _rows(kind, different, found) if different else ""
    first = [Row(row.name, row.values[:1]) for row in same[:300]]
    items = "".join(
        f"<dt>{name}</dt><dd>{cells[0]}</dd>" for name, cells in map(_pair, first)
    )
    items += f"<dt>{rest_text(len(same) - 300)}</dt>" if len(same) > 300 else ""
    below = _folded("The same in all", len(same), f'<dl class="known">{items}</dl>')
    return head + shown + (below if same else "")


def _legend(found: Comparison) -> str:
    items = "".join(f"<li>{_run(n, found)}</li>" for n in range(len(found.names)))
    return f'<ul class="legend">{items}</ul>'


def _run(place: int, found: Comparison) -> str:
    """Return a run as it is called in the report, with its colour."""
    status = found.pages[place].state.status
    symbol = SYMBOLS.get(status, "…")
    name = markup(found.names[place])
    return (
        f'{swatch(place)}<span>{name} <span class="muted" title="{_label(status)}">'
        f"{symbol}</span></span>"
    )


def _rows(kind: str, rows: Sequence[Row], found: Comparison) -> str:
    most = max(5, _CELLS[kind] // len(found.names))
    table = _table(map(_pair, rows[:most]), found, kind)
    more = len(rows) - most
    return table + (f'<p class="muted">{rest_text(more)}</p>' if more > 0 else "")


def _pair(row: Row) -> tuple[str, list[str]]:
    cells = [
        "–" if value is ABSENT else _label(value_text(value), _MAX_VALUE)
        for value in row.values
    ]
    return _label(row.name, _MAX_VALUE), cells


def _table(
    rows: Iterable[tuple[str, list[str]]],
    found: Comparison,
    label: str,
) -> str:
    """Return a table with a column for each run.

    Args:
        rows: Name and cells of each, as HTML.
        found: The runs.
        label: What the table shows.
    """
    head = "".join(
        f'<th scope="col">{_run(n, found)}</th>' for n in range(len(found.names))
    )
    body = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(f'<td class="mono">{cell}</td>' for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{label}"><table>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _curves(found: Comparison, most: int) -> str:
    """Return the curves of the first metrics, those of all runs in one picture each."""
    drawn = filter(None, (overlay(r.name, _histories(r, found)) for r in found.metrics))
    chosen = list(islice(drawn, max(0, most)))
    if not chosen:
        return ""
    notes = []
    if len(found.names) > MOST_RUNS:
        notes.append(f"Curves show the first {MOST_RUNS} runs.")
    if any(page.is_sample for page in found.pages):
        notes.append(SAMPLE)
    note = f'<p class="muted">{" ".join(notes)}</p>' if notes else ""
    drawable = sum(
        any(one is not None and one.count > 1 for one in row.found)
        for row in found.metrics
    )
    note += undrawn(drawable - len(chosen))
    many = " many" if len(found.names) > 3 else ""
    return (
        f"<section><h2>Curves</h2>{_legend(found)}"
        f'<div class="charts{many}">{"".join(chosen)}</div>{note}</section>'
    )


def _histories(row: MetricRow, found: Comparison) -> list[tuple[int, str, History]]:
    """Return the points of a metric in each run that has more than one."""
    pairs = zip(found.names, found.pages, strict=True)
    histories = [(name, page.histories.get(row.name)) for name, page in pairs]
    return [
        (place, name, history)
        for place, (name, history) in enumerate(histories[:MOST_RUNS])
        if history is not None and len(history) > 1
    ]


def _metrics(found: Comparison) -> str:
    rows = found.metrics[: max(5, _CELLS["metrics"] // len(found.names))]
    if not rows:
        return ""
    cells = ((_label(row.name), list(_numbers(row))) for row in rows)
    more = len(found.metrics) - len(rows)
    note = f'<p class="muted">{rest_text(more)}</p>' if more > 0 else ""
    return (
        '<section><h2>Metrics <span class="muted">last, distance to the first run, '
        f"min and max</span></h2>{_table(cells, found, 'metrics')}{note}</section>"
    )


def _numbers(row: MetricRow) -> Iterator[str]:
    """Yield the cells of a metric: its last value, exact in a tooltip, and the range."""
    for one, delta in zip(row.found, row.deltas("last"), strict=True):
        if one is None:
            yield "–"
            continue
        distance = delta_text(one.last, delta)
        more = f"<small>{distance}</small>" if distance else ""
        if one.count != 1:
            more += f"<small>{short(one.low)} … {short(one.high)}</small>"
        yield f'<span title="{exact(one.last)}">{short(one.last)}</span>{more}'


# --- words ---------------------------------------------------------------------------


def _folded(title: str, count: int, body: str) -> str:
    return (
        f'<details><summary>{title} <span class="muted">{count:,}</span></summary>'
        f"{body}</details>"
    )


def _label(text: str, most: int = 300) -> str:
    """Return a text on one line for HTML."""
    return markup(one_line(text, most))
