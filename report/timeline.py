"""The time of a pull, drawn: an axis, and a bar for each request."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mitm.story.kind import API_KINDS, CONTENT, Kind
from mitm.story.record import Record
from report.pull import Pull
from report.request import Request
from resolver.upstream.observer import CacheState

ROWS_MAX = 200
"""Requests of a pull that have a row: a client may make thousands."""
TICKS_MAX = 5
WIDTH_MIN = 0.6
"""Percent of the axis: as little as can be seen."""
_STEPS = (1.0, 2.0, 5.0, 10.0)


class Part(StrEnum):
    """On whom time was spent; the name is the class of the page's style."""

    API = "api"
    REGISTRY = "registry"
    TRANSFER = "transfer"
    PROXY = "proxy"
    """Reading, looking up what is remembered, waiting for another's look-up."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar; place and width in percent of the axis."""

    part: Part
    seconds: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the axis."""

    seconds: float
    left: float


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and its bar."""

    request: Request
    offset: float
    """Seconds after the pull began."""
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows of a pull over one axis."""

    rows: Sequence[Row]
    ticks: Sequence[Tick]
    left_out: int = 0
    """How many requests have no row."""


def draw(pull: Pull) -> Timeline:
    """Return the timeline of a pull; of very many requests, of those that matter."""
    begin, span = pull.begin, max(pull.end - pull.begin, 0.001)
    requests = _chosen(pull.rows)
    rows = [
        Row(each, each.begin - begin, _segments(each, begin, span)) for each in requests
    ]
    left_out = len(pull.rows) - len(rows) + pull.left_out
    step = _step(span)
    count = math.floor(span / step + 0.001)
    ticks = [Tick(n * step, 100 * n * step / span) for n in range(count + 1)]
    return Timeline(rows, ticks, left_out)


def split_time(request: Request) -> dict[Part, float]:
    """Return on whom the time of a request was spent, as far as that was noted."""
    record, left = request.record, request.seconds
    if record.is_own:
        return {Part.API if record.kind in API_KINDS else Part.REGISTRY: left}
    spent: dict[Part, float] = {}
    for part, seconds in (
        (Part.API, record.api_seconds),
        (_answering(record), record.registry_seconds),
    ):
        if seconds:
            spent[part] = min(seconds, left)
            left -= spent[part]
    if left > 0 or not spent:
        spent[_rest(request)] = left
    return spent


def _chosen(requests: Sequence[Request]) -> Sequence[Request]:
    """Return as many as are shown: what failed or goes on, then the first ones."""
    if len(requests) <= ROWS_MAX:
        return requests
    by_weight = sorted(requests, key=lambda each: not each.is_bad and each.is_over)
    chosen = {id(each) for each in by_weight[:ROWS_MAX]}
    return [each for each in requests if id(each) in chosen]


def _answering(record: Record) -> Part:
    """Return who was waited for until an answer began."""
    return Part.PROXY if record.cache is CacheState.HIT else Part.REGISTRY


def _rest(request: Request) -> Part:
    """Return on whom the time was spent that is not noted by itself."""
    record = request.record
    if record.kind is Kind.TOKEN:
        return Part.API if record.outcome is None else Part.PROXY
    if record.registry_seconds is not None:
        return Part.TRANSFER if request.is_transfer else Part.PROXY
    # There is no answer, so nobody noted how long it was waited for.
    is_waiting = record.outcome is None and record.kind in CONTENT
    return Part.REGISTRY if record.failure or is_waiting else Part.PROXY


def _segments(request: Request, begin: float, span: float) -> list[Segment]:
    segments: list[Segment] = []
    after = request.begin - begin
    for part, seconds in split_time(request).items():
        width = max(100 * seconds / span, WIDTH_MIN)
        left = min(100 * after / span, 100 - WIDTH_MIN)
        segments.append(Segment(part, seconds, left, width))
        after += seconds
    return segments


def _step(span: float) -> float:
    """Return a round number of seconds that divides the span into a few parts."""
    power = 10.0 ** math.floor(math.log10(span / TICKS_MAX))
    return next(n * power for n in _STEPS if span / (n * power) <= TICKS_MAX + 0.001)
