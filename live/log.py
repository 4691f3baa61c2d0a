"""The pulls that a log tells of, whose lines have facts (``LOG_FORMAT=json``).

A line is written when a request is over, so it is not seen how far one is that runs. A
pull counts as over when nothing followed for a while; when something does, it goes on.
"""

import json
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from live.board import Card
from live.poll import SourceError
from live.shown import Shown, clean, clean_words
from live.state import other_state, state_of
from mitm.story.kind import CONTENT, Kind
from mitm.story.quantity import read_size
from mitm.story.record import SEPARATOR, Record
from report.grouping import Sorting
from report.other import Others
from report.pull import Pull
from report.request import Request
from resolver.grammar.timestamp import read_seconds

QUIET_SECONDS = 10.0
"""Without a request, after which a pull counts as over."""
LINE_LENGTH_MAX = 64 << 10
PIECE = 64 << 10
PULLS_MAX = 500
OTHERS_MAX = 100
STRANGE_MAX = 20
"""Lines without facts, after which it is said what to set."""
STEP_SECONDS = 1.0
HOW_TO_SET = (
    "its lines have no facts: start the proxy with LOG_FORMAT=json, as in make run"
    " LOG_FORMAT=json"
)


class LogPulls:
    """The pulls of a log."""

    def __init__(self) -> None:
        self._sorting = Sorting()
        self._number = 0
        self.now = 0.0
        """The time of the last line, and what has gone by since."""
        self.has_facts = False
        """Whether any line had some."""

    def take(self, line: str) -> bool:
        """Take a line, and return whether it has facts."""
        facts = read_facts(line)
        if facts is None:
            return False
        self.has_facts = True
        request = request_of(facts)
        if request is None:
            return True
        self.now = max(self.now, request.end)
        pulls = self._sorting.take(request)
        for pull in pulls:
            if not pull.number:
                self._number += 1
                pull.number = self._number
        if not pulls:
            self._sorting.forget_others(OTHERS_MAX)
        self._sorting.joined()
        while len(kept := self._sorting.pulls) > PULLS_MAX:
            self._sorting.forget(kept[0])
        return True

    def pulls(self, *, is_end: bool = False) -> list[Shown]:
        """Return the pulls, and what went wrong beside them, the oldest first."""
        others = map(other_state, Others(self._sorting.others).bad)
        found = [
            *(self._shown(pull, is_end=is_end) for pull in self._sorting.pulls),
            *map(Shown.read_other, others),
        ]
        return sorted(filter(None, found), key=lambda each: each.begin)

    def _shown(self, pull: Pull, *, is_end: bool) -> Shown | None:
        is_over = is_end or self.now - pull.end > QUIET_SECONDS
        shown = Shown.read(json.loads(state_of(Card(pull, is_over=is_over))))
        # How much there is in all no line says.
        return shown and replace(shown, total=None)


def read_facts(line: str) -> Mapping[str, Any] | None:
    """Return the facts of a line; something that collects logs may begin it."""
    start = line.find("{")
    if start < 0:
        return None
    try:
        facts = json.loads(line[start:])
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(facts, dict) and {"time", "level", "message"} <= facts.keys()
    return facts if is_ours else None


def request_of(facts: Mapping[str, Any]) -> Request | None:
    """Return the request that a line is about, if it is about one."""
    try:
        end = datetime.fromisoformat(str(facts["time"])).timestamp()
    except (ValueError, OverflowError):
        return None
    event, request_id = facts.get("event"), clean(facts.get("request_id"))
    if not isinstance(event, str) or event not in set(Kind) or not request_id:
        return None
    seconds = read_seconds(facts.get("duration")) or 0.0
    comment = clean_words(facts["message"])
    alias = facts.get("alias")
    known = dict(facts) | {
        "kind": event,
        "message": facts.get("error"),
        "aliases": _aliases(facts),
    }
    record = Record.from_dict(known)
    record.status = read_size(facts.get("status"))
    record.method = clean(facts.get("method"), 20)
    record.seconds = seconds
    if record.kind in CONTENT:
        what = "manifests" if record.kind is Kind.MANIFEST else f"{record.kind}s"
        reference = record.digest or clean(facts.get("tag"))
        record.path = f"/v2/{clean(alias)}/{what}/{reference}"
    client = clean(facts.get("client"))
    if not record.connection:
        record.forwarded_for = client
    return Request(
        id=request_id,
        record=record,
        begin=end - seconds,
        seconds=seconds,
        client=client,
        agent=clean(facts.get("agent")),
        host="",
        comment=comment,
        explanation=(),
        lifetime=None,
    )


def _aliases(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is known of the aliases, of a token or of content."""
    told = facts.get("aliases")
    rows = told if isinstance(told, list) else ()
    found = [each for each in rows if isinstance(each, dict)]
    names = str(facts.get("alias") or "").split(SEPARATOR)
    if not found and len(names) == 1:
        known = {name: facts.get(name) for name in ("release", "location")}
        return [{"alias": names[0]} | known] if known["release"] else []
    present = {each.get("alias") for each in found}
    return [*found, *({"alias": name} for name in names if name not in present)]


def read_lines(descriptor: int) -> Iterator[str | None]:
    """Yield the lines as they come, and None where none does for a moment.

    Of what is longer than any line of the proxy the rest is left out.
    """
    rest, is_skipping = b"", False
    while True:
        if not select.select((descriptor,), (), (), STEP_SECONDS)[0]:
            yield None
            continue
        piece = os.read(descriptor, PIECE)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not is_skipping:
                yield line.decode(errors="replace")
            is_skipping = False
        if len(rest) > LINE_LENGTH_MAX:
            rest, is_skipping = b"", True
    if rest and not is_skipping:
        yield rest.decode(errors="replace")


def follow(
    descriptor: int, tell: Callable[[str], None], *, is_once: bool = False
) -> Iterator[list[Shown]]:
    """Yield the pulls whenever the log says more, until it ends.

    Raises:
        SourceError: it has no facts.

    """
    pulls = LogPulls()
    strange, shown, is_told = 0, 0.0, False
    for line in read_lines(descriptor):
        if line is None:
            pulls.now += STEP_SECONDS
        elif not pulls.take(line) and line.strip():
            strange += 1
            if strange == STRANGE_MAX and not pulls.has_facts:
                tell(HOW_TO_SET)
                is_told = True
        moment = time.monotonic()
        if not is_once and (line is None or moment - shown > STEP_SECONDS / 4):
            shown = moment
            yield pulls.pulls()
    if strange and not pulls.has_facts and not is_told:
        raise SourceError(HOW_TO_SET)
    yield pulls.pulls(is_end=True)
