"""One run as a page, from its files: HTML for notebooks and reports, and plain text.

What a page says is read by `page_facts`; `page_html` and `page_text` show it.
"""

from pathlib import Path

from mlog.reader.page_facts import read_page
from mlog.reader.page_html import page_html
from mlog.reader.page_text import MAX_LINES, page_text

__all__ = ["run_html", "run_text"]


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
    return page_text(read_page(folder, most=MAX_LINES), width=width)
