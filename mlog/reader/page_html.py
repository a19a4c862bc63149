"""A page of a run as an HTML fragment, for notebooks and reports.

Invariants:
    - The fragment needs nothing: no script, no request, its styles inside. They apply
      to it alone.
    - Whatever was logged is text: escaped, and control characters shown. A file that is
      a link, or lies outside of the run's folder, is not opened.
    - Its size is bounded: of what is too much the beginning is shown, and the page says
      so.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mlog.reader.condense import Summary
from mlog.reader.curves import markup, svg_curve
from mlog.reader.fields import text_from
from mlog.reader.numbers import exact, short
from mlog.reader.page_facts import (
    SAMPLE,
    SYMBOLS,
    Page,
    Pictures,
    curve_text,
    errors_of,
    facts_of,
    heading,
    odd_text,
    tail_of,
)
from mlog.reader.page_images import images_of
from mlog.reader.page_words import (
    MAX_VALUE,
    cut,
    one_line,
    rest_text,
    size_text,
    value_text,
)
from mlog.reader.series import History
from mlog.reader.state import RunState

__all__ = ["page_html", "undrawn"]

_MAX_ROWS = 300  # metrics, params and tags
_MAX_FILES = 60
_OPEN = 20  # a longer list is folded at first

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
        _artifacts_html(page.state, page.pictures),
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
    experiment, name = map(markup, heading(state))
    badge = state.status if state.status in SYMBOLS else ""
    symbol = SYMBOLS.get(state.status, "…")
    facts = "".join(
        f"<div><dt>{label}</dt><dd>{_label(text)}</dd></div>"
        for label, text in facts_of(page).items()
    )
    about = cut(state.description, 2_000)
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
    items += [f"<li>{rest_text(len(tags) - _MAX_ROWS)}</li>"] * (len(tags) > _MAX_ROWS)
    return f'<ul class="tags" aria-label="tags">{"".join(items)}</ul>'


def _trouble_html(page: Page) -> str:
    """Return what went wrong, with the tracebacks folded."""
    errors = "".join(_error_html(label, error) for label, error in errors_of(page))
    return f"<section>{errors}</section>" if errors else ""


def _error_html(label: str, error: Mapping[str, Any]) -> str:
    kind, msg = text_from(error.get("type")), text_from(error.get("msg"))
    text = f"<b>{_label(kind)}</b> {markup(cut(msg, 2_000))}"
    traceback = text_from(error.get("traceback"))
    below = ""
    if traceback:
        tail = markup(tail_of(traceback))
        below = f"<details><summary>Traceback</summary><pre>{tail}</pre></details>"
    above = f'<div class="muted">{markup(label)}</div>'
    return f'<div class="error">{above}{text}{below}</div>'


def _metrics_html(page: Page, max_curves: int) -> str:
    """Return the curves, and all metrics as a table."""
    count = len(page.summaries) + len(page.others)
    if not count:
        return ""
    curves = "".join(
        svg_curve(h.steps, h.values, title=one_line(h.name), height=110)
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
    drawn += f'<p class="muted">{SAMPLE}</p>' if page.is_sample else ""
    drawable = sum(one.count > 1 for one in page.summaries.values())
    drawn += undrawn(drawable - curves.count("<svg"))
    return f"<section>{drawn}{_folded('Metrics', count, table)}</section>"


def undrawn(count: int) -> str:
    """Say how many metrics have no picture, "" for none; all are in the table."""
    if count <= 0:
        return ""
    metrics = "1 more metric has" if count == 1 else f"{count:,} more metrics have"
    return f'<p class="muted">{metrics} no picture here.</p>'


def _curves(page: Page, most: int) -> Iterator[History]:
    """Yield what is worth a picture: the first metrics with more than one point."""
    found = (h for h in page.histories.values() if len(h) > 1)
    return islice(found, max(0, most))


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
        yield f'<tr><th scope="row">{rest_text(more)}</th><td colspan="5"></td></tr>'


def _row_html(name: str, found: Summary, history: History | None) -> str:
    cells = "".join(_number_html(v) for v in (found.last, found.low, found.high))
    odd = f' <span class="bad">{odd_text(found)}</span>' if odd_text(found) else ""
    return (
        f'<tr><th scope="row">{_label(name)}</th>{cells}<td>{found.count:,}</td>'
        f'<td class="spark">{curve_text(history, 24)}{odd}</td></tr>'
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
        f"<div><dt>{_label(name)}</dt><dd>{_label(value_text(value))}</dd></div>"
        for name, value in islice(params.items(), _MAX_ROWS)
    )
    more = rest_text(len(params) - _MAX_ROWS) if len(params) > _MAX_ROWS else ""
    body = f'<dl class="pairs">{items}</dl><div class="muted">{more}</div>'
    return f"<section>{_folded('Params', len(params), body)}</section>"


def _artifacts_html(state: RunState, pictures: Pictures) -> str:
    """Return some small images, and the names of all files."""
    if not state.artifacts:
        return ""
    images = "".join(
        f'<figure><img alt="" src="{url}"/>'
        f"<figcaption>{_label(caption)}</figcaption></figure>"
        for caption, url in images_of(state, pictures)
    )
    shown_first = islice(state.artifacts.values(), _MAX_FILES)
    items = "".join(
        f'<li>{_label(one.path)} <span class="muted">{size_text(one.size)}</span></li>'
        for one in shown_first
    )
    more = len(state.artifacts) - _MAX_FILES
    items += f'<li class="muted">{rest_text(more)}</li>' if more > 0 else ""
    files = _folded(
        "Artifacts", len(state.artifacts), f'<ul class="files">{items}</ul>'
    )
    drawn = f'<div class="images">{images}</div>' if images else ""
    return f"<section>{drawn}{files}</section>"


def _label(text: str, most: int = MAX_VALUE) -> str:
    """Return a text on one line for HTML."""
    return markup(one_line(text, most))
