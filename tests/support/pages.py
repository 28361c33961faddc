"""Looks at a page as a browser's parser would."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("meta", "link", "br", "img", "input")


class Tags(HTMLParser):
    """Collects the elements of a page, and what stands in each kind of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []  # (the innermost element, its text)
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))


def assert_loads_nothing(page: str) -> Tags:
    """It is well formed, and neither an element nor an attribute of it loads or runs anything."""
    tags = Tags(page)
    assert tags.open == []
    for tag, attributes in tags.found:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert "href" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    assert [a.get("type") for tag, a in tags.found if tag == "script"] == ["application/json", None]
    assert "default-src 'none'" in page
    return tags
