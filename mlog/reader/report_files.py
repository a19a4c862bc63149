"""The small files that a run has put out, in its report: texts to read, others to save.

Images stand on the page itself (`mlog.reader.page_images`). A text is shown escaped; any
other file is a link whose address is its content, which a browser saves and never opens:
whatever its name says, it is given as `application/octet-stream`.
"""

import base64
from collections.abc import Iterator
from itertools import islice

from mlog.reader.curves import markup
from mlog.reader.page_images import content_of
from mlog.reader.page_words import one_line, rest_text, size_text
from mlog.reader.state import Artifact, RunState

__all__ = ["files_html"]

_MAX_FILE = 32 << 10
_MAX_BYTES = 400_000
"""Of all files of a run."""

_MAX_FILES = 40
_SAVED = "data:application/octet-stream;base64,"


def files_html(state: RunState) -> str:
    """Return the small files that are no images; "" where there are none."""
    small = [
        artifact
        for artifact in state.artifacts.values()
        if 0 < artifact.size <= _MAX_FILE
        and not artifact.media_type.startswith("image/")
    ]
    shown = "".join(_within(state, small))
    if not shown:
        return ""
    more = len(small) - _MAX_FILES
    rest = f'<p class="muted">{rest_text(more)}</p>' if more > 0 else ""
    return f"<section><h2>Small files</h2>{shown}{rest}</section>"


def _within(state: RunState, small: list[Artifact]) -> Iterator[str]:
    left = _MAX_BYTES
    for artifact in islice(small, _MAX_FILES):
        content = content_of(state.folder, artifact) if artifact.size <= left else b""
        if 0 < len(content) <= min(left, _MAX_FILE):
            left -= len(content)
            yield _file(artifact, content)


def _file(artifact: Artifact, content: bytes) -> str:
    size = f'<span class="muted">{size_text(len(content))}</span>'
    title = f"{markup(one_line(artifact.path))} {size}"
    text = _text(content)
    if text is not None:
        body = f'<div class="lines"><pre>{markup(text)}</pre></div>'
        return f"<details><summary>{title}</summary>{body}</details>"
    name = markup(one_line(artifact.path.rpartition("/")[2], 100))
    address = _SAVED + base64.b64encode(content).decode()
    return f'<p>{title} <a download="{name}" href="{address}">save</a></p>'


def _text(content: bytes) -> str | None:
    """Return content as text; None where it is none."""
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None
