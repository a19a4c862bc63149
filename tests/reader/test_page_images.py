"""The images on a page: which are shown, what they are called, what is never opened."""

import os
from pathlib import Path

import pytest

from mlog.reader.page import run_html
from tests.reader.conftest import PNG, Writing, page, tag, words

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def captions(run: Writing) -> list[str]:
    found = page(run).iter()
    return [e.text or "" for e in found if tag(e) == "figcaption"]


def log_picture(run: Writing, name: str, path: str, step: int | None = None) -> None:
    run.artifact(path, PNG, "image/png")
    value = {"type": "mlog.artifact", "path": path, "media_type": "image/png"}
    at = {} if step is None else {"step": step}
    run.entry("metrics", level="INFO", logger="train", **at, value={name: value})


def images(run: Writing) -> list[str]:
    found = (e.get("src") or "" for e in page(run).iter("img"))
    return [src.partition(",")[0] for src in found]


def test_images_lie_in_the_page(run: Writing) -> None:
    run.artifact("plots/a.png", PNG, "image/png")
    run.artifact("b.jpg", b"\xff\xd8\xff\xe0", "image/jpeg")
    run.artifact("c.gif", b"GIF89a", "image/gif")
    run.artifact("d.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp")
    run.artifact("e.svg", SVG, "image/svg+xml")
    kinds = ("png", "jpeg", "gif", "webp", "svg+xml")
    assert images(run) == [f"data:image/{kind};base64" for kind in kinds]
    assert "plots/a.png" in words(page(run))


def test_svg_is_an_image_and_no_part_of_the_page(run: Writing) -> None:
    """Browsers run no script of an image."""
    run.artifact("e.svg", SVG, "image/svg+xml")
    assert "script" not in {tag(e) for e in page(run).iter()}


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG + b"\0" * 200_000, "image/png"),
        (b"<html><svg>", "image/svg+xml"),
        (b"<!doctype html>", "image/png"),
        (PNG, "application/octet-stream"),
    ],
    ids=["large", "html as svg", "html as png", "no image by its type"],
)
def test_is_not_shown(run: Writing, content: bytes, media_type: str) -> None:
    run.artifact("a.png", content, media_type)
    assert images(run) == []
    assert "a.png" in words(page(run))


def test_at_most_six(run: Writing) -> None:
    for number in range(9):
        run.artifact(f"{number}.png", PNG, "image/png")
    assert len(images(run)) == 6


def test_all_images_together_leave_the_page_small(run: Writing) -> None:
    for number in range(6):
        run.artifact(f"{number}.png", PNG + os.urandom(190_000), "image/png")
    assert len(run_html(run.folder)) < 1_000_000
    assert len(images(run)) == 1 or len(images(run)) == 2


@pytest.mark.parametrize("level", ["file", "folder"])
def test_link_is_not_followed(run: Writing, tmp_path: Path, level: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.png").write_bytes(PNG)
    file = run.artifact("plots/a.png", PNG, "image/png")
    file.unlink()
    if level == "file":
        file.symlink_to(secret / "a.png")
    else:
        file.parent.rmdir()
        file.parent.symlink_to(secret)
    assert images(run) == []


@pytest.mark.parametrize("path", ["../x.png", "/etc/x.png", "a/../../x.png"])
def test_path_out_of_the_run_is_not_followed(run: Writing, path: str) -> None:
    (run.folder / "x.png").write_bytes(PNG)
    run.event("run.artifact", path=path, size=9, media_type="image/png")
    assert images(run) == []


def test_missing_file_is_named(run: Writing) -> None:
    run.artifact("a.png", PNG, "image/png").unlink()
    assert images(run) == []
    assert "a.png 58 B" in words(page(run))


def test_a_picture_is_called_what_it_was_logged_as(run: Writing) -> None:
    """Any other file is called by its path; names are text."""
    log_picture(run, "pred", "pred_0.png", 7)
    log_picture(run, "<b>", "odd.png")
    run.artifact("plots/a.png", PNG, "image/png")
    assert captions(run) == ["pred, step 7", "<b>", "plots/a.png"]


def test_of_many_the_last_of_each_name_are_shown_then_files_then_the_newest(
    run: Writing,
) -> None:
    log_picture(run, "data", "data.png")
    for step in range(20):
        log_picture(run, "pred", f"pred_{step}.png", step)
        log_picture(run, "mask", f"mask_{step}.png", step)
    run.artifact("plots/a.png", PNG, "image/png")
    shown = ["data", "mask, step 18", "pred, step 19", "mask, step 19", "plots/a.png"]
    assert captions(run) == [shown[0], "pred, step 18", *shown[1:]]
