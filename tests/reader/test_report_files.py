"""A report holds the small files of a run: texts to read, others to save."""

import base64
import os
from xml.etree import ElementTree

from mlog.reader.report_files import files_html
from mlog.reader.state import read_state
from tests.reader.conftest import PNG, Writing, tag, words


def files(run: Writing) -> ElementTree.Element:
    """Read the part as strictly as an XML reader does."""
    return ElementTree.fromstring(f"<x>{files_html(read_state(run.folder))}</x>")


def test_a_text_is_shown_as_it_is(run: Writing) -> None:
    run.artifact("a/notes.md", b"# <b>hi</b>\n\x1b[31m & more", "text/markdown")
    page = files(run)
    (pre,) = page.iter("pre")
    assert pre.text == "# <b>hi</b>\n\\x1b[31m & more"
    assert words(next(page.iter("summary"))).startswith("a/notes.md")


def test_any_other_file_can_be_saved_and_never_opened(run: Writing) -> None:
    """Whatever type it claims to have."""
    content = b"\0<script>alert(1)</script>"
    run.artifact('x"><i>.html', content, "text/html")
    (link,) = (e for e in files(run).iter() if tag(e) == "a")
    assert link.get("download") == 'x"><i>.html'
    address = link.get("href", "")
    assert address == (
        "data:application/octet-stream;base64," + base64.b64encode(content).decode()
    )


def test_images_and_large_files_are_left_out(run: Writing) -> None:
    run.artifact("a.png", PNG, "image/png")
    run.artifact("large.txt", b"x" * 40_000, "text/plain")
    run.artifact("empty.txt", b"", "text/plain")
    assert files_html(read_state(run.folder)) == ""


def test_all_of_them_are_bounded(run: Writing) -> None:
    for number in range(60):
        run.artifact(f"{number:02}.txt", b"x" * 30_000, "text/plain")
    html = files_html(read_state(run.folder))
    assert len(html) < 450_000
    assert "20 more" in html


def test_no_link_is_followed(run: Writing) -> None:
    secret = run.folder.parent / "secret"
    secret.write_text("s3cr3t")
    run.artifact("a.txt", b"x", "text/plain")
    path = run.folder / "artifacts" / "a.txt"
    path.unlink()
    os.symlink(secret, path)
    assert files_html(read_state(run.folder)) == ""
