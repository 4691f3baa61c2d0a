"""A page about flows, and taken apart as far as tests ask for it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from mitmproxy import flow

from report.grouping import group_requests
from report.page import Page, render
from report.recording import read_recording
from tests.report.flow import save

VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})


@dataclass(slots=True)
class Element:
    """An element, with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it says, in one line."""
        words = (c if isinstance(c, str) else c.text for c in self.children)
        return " ".join(" ".join(words).split())

    @property
    def classes(self) -> Sequence[str]:
        """Its classes."""
        return self.attributes.get("class", "").split()

    def all(self) -> Iterator["Element"]:
        """Return it and every element in it, in the order of the page."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.all()

    def find(self, tag: str = "", **wanted: str) -> list["Element"]:
        """Return the elements in it of the tag, with these attributes."""
        names = {"class_": "class"}
        return [
            one
            for one in self.all()
            if tag in ("", one.tag)
            and all(
                value in one.attributes.get(names.get(name, name), "").split()
                for name, value in wanted.items()
            )
        ]

    def one(self, tag: str = "", **wanted: str) -> "Element":
        """Return the only one such."""
        (found,) = self.find(tag, **wanted)
        return found


class Reader(HTMLParser):
    """Reads a page, and insists on each element being closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]

    @classmethod
    def read(cls, page: str) -> Element:
        """Return all of the page."""
        reader = cls()
        reader.feed(page)
        reader.close()
        assert reader._open == [reader.root]
        return reader.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        made = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element of a drawing, which has nothing in it."""
        made = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(made)

    def handle_endtag(self, tag: str) -> None:
        """Close the element."""
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        """Take a text."""
        self._open[-1].children.append(data)


def page_source(folder: Path, flows: Iterable[flow.Flow]) -> str:
    """Save the flows in the folder, and return the page about them."""
    return page_of(save(folder / "some flows", flows))


def page_of(path: Path) -> str:
    """Return the page about a flow file."""
    recording = read_recording(path)
    return render(Page(recording, group_requests(recording.requests)))


def make_page(folder: Path, flows: Iterable[flow.Flow]) -> Element:
    """Return the page about the flows, taken apart."""
    return Reader.read(page_source(folder, flows))
