"""A page as HTML: what lies in it, and that it needs and changes nothing else."""

import os
import re
from pathlib import Path

import pytest

from mlog.reader.page import run_html
from tests.reader.conftest import (
    PNG,
    Writing,
    page,
    tag,
    words,
)

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class TestArtifacts:
    """Small images are shown, all files are named."""

    def images(self, run: Writing) -> list[str]:
        found = (e.get("src") or "" for e in page(run).iter("img"))
        return [src.partition(",")[0] for src in found]

    def test_images_lie_in_the_page(self, run: Writing) -> None:
        run.artifact("plots/a.png", PNG, "image/png")
        run.artifact("b.jpg", b"\xff\xd8\xff\xe0", "image/jpeg")
        run.artifact("c.gif", b"GIF89a", "image/gif")
        run.artifact("d.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp")
        run.artifact("e.svg", SVG, "image/svg+xml")
        kinds = ("png", "jpeg", "gif", "webp", "svg+xml")
        assert self.images(run) == [f"data:image/{kind};base64" for kind in kinds]
        assert "plots/a.png" in words(page(run))

    def test_svg_is_an_image_and_no_part_of_the_page(self, run: Writing) -> None:
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
    def test_is_not_shown(self, run: Writing, content: bytes, media_type: str) -> None:
        run.artifact("a.png", content, media_type)
        assert self.images(run) == []
        assert "a.png" in words(page(run))

    def test_at_most_six(self, run: Writing) -> None:
        for number in range(9):
            run.artifact(f"{number}.png", PNG, "image/png")
        assert len(self.images(run)) == 6

    def test_all_images_together_leave_the_page_small(self, run: Writing) -> None:
        for number in range(6):
            run.artifact(f"{number}.png", PNG + os.urandom(190_000), "image/png")
        assert len(run_html(run.folder)) < 1_000_000
        assert len(self.images(run)) == 1 or len(self.images(run)) == 2

    @pytest.mark.parametrize("level", ["file", "folder"])
    def test_link_is_not_followed(
        self, run: Writing, tmp_path: Path, level: str
    ) -> None:
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
        assert self.images(run) == []

    @pytest.mark.parametrize("path", ["../x.png", "/etc/x.png", "a/../../x.png"])
    def test_path_out_of_the_run_is_not_followed(self, run: Writing, path: str) -> None:
        (run.folder / "x.png").write_bytes(PNG)
        run.event("run.artifact", path=path, size=9, media_type="image/png")
        assert self.images(run) == []

    def test_missing_file_is_named(self, run: Writing) -> None:
        run.artifact("a.png", PNG, "image/png").unlink()
        assert self.images(run) == []
        assert "a.png 58 B" in words(page(run))


class TestFragment:
    """The page stands alone, whatever is around it."""

    def test_only_own_elements_and_attributes(self, hostile: Writing) -> None:
        elements = list(page(hostile).iter())
        assert not {tag(e) for e in elements} & {"script", "img", "iframe", "object"}
        assert not [key for e in elements for key in e.attrib if key.startswith("on")]
        assert words(page(hostile)).count("<script>alert('1')</script>") >= 9

    def test_page_asks_for_nothing(self, hostile: Writing) -> None:
        """No request, no script, nothing of the page around it is touched."""
        hostile.artifact("a.png", PNG, "image/png")
        html = run_html(hostile.folder)
        html = html.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|url\(|@import|<link|<script", html)
        links = {e.get("href", "")[:8] for e in page(hostile).iter("a")}
        assert links == {"file:///"}

    def test_styles_are_for_the_page_alone(self, run: Writing) -> None:
        (style,) = page(run).iter("style")
        rules = re.sub(r"@media\([^)]*\)\{(.*?\})\}", r"\1", str(style.text))
        for selectors in re.findall(r"([^{}]+)\{", rules):
            for selector in selectors.split(","):
                assert ".mlog-run.mlog-run" in selector
