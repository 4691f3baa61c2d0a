"""Progress of blobs: a bar while one comes, and a line when it is there."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

from pull.manifest import Descriptor

WIDTH = 24
_BEGIN = "     {desc} [{bar:" + str(WIDTH) + "}] "
_FORMAT = _BEGIN + "{n_fmt:>8}B of {total_fmt}B, {rate_fmt}, {remaining} left"

type Tell = Callable[[str], None]


class Bar:
    """What a blob's transfer reports to."""

    def __init__(self, bar: "tqdm[NoReturn]", tell: Tell) -> None:
        self._bar = bar
        self._tell = tell

    def reach(self, count: int) -> None:
        """Show that so many bytes are there; fewer where it began anew."""
        self._bar.update(count - self._bar.n)

    def note(self, text: str) -> None:
        """Say something that happened, above the bar."""
        self._bar.clear()
        self._tell(text)


@contextmanager
def progress(name: str, size: int, tell: Tell, *, has_bar: bool) -> Iterator[Bar]:
    """Show a bar for so many bytes, where it is wanted, while the context lasts."""
    with tqdm(
        desc=name,
        total=size,
        unit="B",
        unit_scale=True,
        bar_format=_FORMAT,
        ascii=" #",
        leave=False,
        file=sys.stdout,
        disable=not has_bar,
    ) as bar:
        yield Bar(bar, tell)


def whole(blob: Descriptor, result: str) -> str:
    """Return the line of a blob that is there."""
    return f"     {blob.short} [{'#' * WIDTH}] {blob.size / 1e6:8.3f} MB {result}"
