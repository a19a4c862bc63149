"""A page as HTML: what lies in it, and that it needs and changes nothing else."""

import re

from mlog.reader.page import run_html
from tests.reader.conftest import (
    PNG,
    Writing,
    page,
    tag,
    words,
)


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
