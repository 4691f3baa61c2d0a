"""Flows that a board sees as it would while they run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.test import taddons

import addon
from live.board import Board
from mitm.story.record import Record
from tests.report.flow import BEGIN


@dataclass
class Clock:
    """The time, as a test has it."""

    now: float = BEGIN

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@contextmanager
def playing(*, show_secrets: bool = False) -> Iterator[tuple[Board, Clock]]:
    """Yield an empty board, and what it takes for the time."""
    clock = Clock()
    with taddons.context(addon.RegistryProxy()) as context:
        context.options.balena_show_secrets = show_secrets
        yield Board(clock), clock


def record_of(flow: http.HTTPFlow) -> Record:
    """Return the record that the flow carries."""
    record = Record.read(flow)
    assert record
    return record


def begin(board: Board, flow: http.HTTPFlow) -> Record:
    """Let the board see the flow as it is before there is an answer."""
    record = record_of(flow)
    record.outcome = record.seconds = record.status = record.bytes = None
    record.registry_seconds = record.code = record.message = None
    record.aliases = []
    response, flow.response = flow.response, None
    board.note(flow, record)
    flow.response = response
    return record


def play(board: Board, clock: Clock, flows: Iterable[http.HTTPFlow]) -> None:
    """Let the board see each flow begin and end, in the order of time."""
    moments: list[tuple[float, int, http.HTTPFlow]] = []
    for flow in flows:
        start, record = flow.request.timestamp_start, record_of(flow)
        if not record.is_own:
            moments.append((start, 0, flow))
        moments.append((start + (record.seconds or 0.0), 1, flow))
    for moment, is_end, flow in sorted(moments, key=lambda each: each[:2]):
        clock.now = moment
        if is_end:
            board.note(flow, record_of(flow))
        else:
            begin(board, flow)
