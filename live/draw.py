"""Pulls on a terminal, drawn in place, or as lines for a pipe or a file."""

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from live.shown import Shown
from mitm.story.kind import Outcome
from mitm.story.quantity import describe_size
from report import phrase

BAR_WIDTH = 20
ROWS_MIN = 3
_UP_AND_CLEAR = "\x1b[{}A\r\x1b[J"
_RESET = "\x1b[0m"
_COLOURS = {"✓": "\x1b[32m", "✕": "\x1b[31m", "!": "\x1b[33m", "…": "\x1b[36m"}
_PLAIN_SIGNS = str.maketrans({"✓": "v", "✕": "x", "…": ".", "→": ">"})


def describe(pull: Shown) -> str:
    """Return the line of a pull, without its sign."""
    parts = [pull.name]
    if pull.release:
        parts.append(f"→ {pull.release}")
    line = " ".join(parts)
    if pull.is_bad:
        line += f"  {phrase.RESULTS[pull.result]}: {pull.reason}"
    elif not pull.is_over:
        line += f"  {_progress(pull)}"
    elif pull.result is Outcome.SERVED:
        took = phrase.seconds(max(0.0, pull.end - pull.begin))
        line += f"  {describe_size(pull.bytes)} in {took}"
    else:
        line += f"  {phrase.RESULTS[pull.result]}: {pull.reason}"
    return f"{line}  ({pull.client})" if pull.client else line


def sign_of(pull: Shown) -> str:
    """Return a sign for how it is, which is no colour."""
    return phrase.SIGNS[pull.result if pull.is_over or pull.is_bad else None]


def is_of_interest(pull: Shown, *, only_failures: bool) -> bool:
    """Return whether it is shown."""
    return pull.is_bad or not only_failures


def _progress(pull: Shown) -> str:
    """Say how far it is; with a bar, where it is known how much there is."""
    parts = [describe_size(pull.bytes)]
    if pull.total:
        done = min(1.0, pull.bytes / pull.total)
        full = int(done * BAR_WIDTH)
        bar = "#" * full + "-" * (BAR_WIDTH - full)
        parts = [f"[{bar}] {done:4.0%} {parts[0]} of {describe_size(pull.total)}"]
    if pull.rate:
        parts.append(f"{describe_size(int(pull.rate))}/s")
    if pull.layers:
        parts.append(f"{pull.whole} of {phrase.count(pull.layers, 'layer')}")
    return ", ".join(parts)


class Screen:
    """What was shown, and where it goes."""

    def __init__(
        self,
        output: TextIO,
        *,
        only_failures: bool = False,
        has_colours: bool = False,
        is_once: bool = False,
    ) -> None:
        self._output = output
        self._only_failures = only_failures
        self._has_colours = has_colours
        self._is_once = is_once
        self._told: dict[tuple[str, float], tuple[object, ...]] = {}
        """What was said of the end of each pull."""
        encoding = (getattr(output, "encoding", "") or "").lower().replace("-", "")
        self._has_signs = encoding.startswith("utf")

    def show(self, pulls: Sequence[Shown]) -> None:
        """Bring it up to date."""
        self._write_lines(self._news(pulls))

    def note(self, text: str) -> None:
        """Say something that happened to the source, beside what is piped on."""
        sys.stderr.write(f"{text}\n")

    def close(self) -> None:
        """Leave it as it is."""

    def _news(self, pulls: Iterable[Shown]) -> list[str]:
        """Return lines about what has not been said yet."""
        lines = []
        present = set()
        for pull in pulls:
            present.add(pull.key)
            said = self._said(pull)
            if self._told.get(pull.key) == said:
                continue
            self._told[pull.key] = said
            if is_of_interest(pull, only_failures=self._only_failures):
                lines += self._lines_about(pull)
        for key in set(self._told) - present:
            del self._told[key]
        return lines

    def _said(self, pull: Shown) -> tuple[object, ...]:
        """Return by what a pull is new; each begins once, and ends once or again."""
        return (pull.end, pull.result, pull.bytes) if pull.is_over else ()

    def _lines_about(self, pull: Shown) -> list[str]:
        moment = time.localtime(pull.end if pull.is_over else pull.begin)
        line = time.strftime("%H:%M:%S ", moment)
        if pull.is_over or self._is_once:
            return [line + each for each in self._block(pull)]
        return [f"{line}… {pull.name}  begins  ({pull.client})"]

    def _block(self, pull: Shown) -> list[str]:
        """Return the line of a pull, and below it what to do, if anything."""
        lines = [f"{sign_of(pull)} {describe(pull)}"]
        if pull.is_bad and pull.advice:
            lines.append(f"  next: {pull.advice}")
        return lines

    def _write_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._output.write(f"{self._painted(line)}\n")
        self._output.flush()

    def _painted(self, line: str) -> str:
        """Return the line in its colour, and in signs that the output has."""
        text = line if self._has_signs else line.translate(_PLAIN_SIGNS)
        colour = next((_COLOURS[each] for each in line[:12] if each in _COLOURS), "")
        return f"{colour}{text}{_RESET}" if self._has_colours and colour else text


class Terminal(Screen):
    """Draws what runs in place, below the lines of what is over."""

    def __init__(
        self,
        output: TextIO,
        *,
        only_failures: bool = False,
        has_colours: bool = False,
        find_size: Callable[[], tuple[int, int]] = shutil.get_terminal_size,
    ) -> None:
        super().__init__(output, only_failures=only_failures, has_colours=has_colours)
        self._find_size = find_size
        self._drawn: list[str] = []
        """The lines that are drawn over next time."""

    def show(self, pulls: Sequence[Shown]) -> None:
        """Write what is over for good, and draw what runs anew."""
        news = self._news([pull for pull in pulls if pull.is_over])
        running = [
            pull
            for pull in pulls
            if not pull.is_over
            and is_of_interest(pull, only_failures=self._only_failures)
        ]
        self._draw(news, running)

    def note(self, text: str) -> None:
        """Say it above what runs."""
        self._draw([text], ())

    def close(self) -> None:
        """Leave no half line."""
        self._output.flush()

    def _lines_about(self, pull: Shown) -> list[str]:
        return self._block(pull)

    def _draw(self, news: Sequence[str], running: Sequence[Shown]) -> None:
        columns, rows = self._find_size()
        width = max(1, columns - 1)
        room = max(1, rows - ROWS_MIN)
        lines = [line for pull in running for line in self._block(pull)]
        if len(lines) > room:
            rest = len(lines) - room + 1
            lines = [*lines[: room - 1], f"… {rest} more lines"]
        lines = [line[:width] for line in lines]
        if news or lines != self._drawn:
            self._wipe(columns)
            self._write_lines([*news, *lines])
            self._drawn = lines

    def _wipe(self, columns: int) -> None:
        """Take away what was drawn, which a narrower terminal may have wrapped."""
        count = sum(max(1, -(-len(line) // max(1, columns))) for line in self._drawn)
        if count:
            self._output.write(_UP_AND_CLEAR.format(count))
        self._drawn = []
