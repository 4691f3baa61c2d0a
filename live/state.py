"""A pull in plain values, for programs: what `/pulls.json` has of it."""

import json
from collections.abc import Iterator, Mapping
from itertools import batched
from typing import Any

from live.board import Card
from mitm.story.kind import Login
from report import phrase
from report.request import Request

PATH = "/pulls"
"""Where the page is; with .json it is for programs."""


REQUESTS_OF_PIECE = 100


def state_of(card: Card) -> bytes:
    """Return the pull as JSON; the same bytes as long as it does not change."""
    return b"".join(pieces_of(card))


def pieces_of(card: Card) -> Iterator[bytes]:
    """Yield the same in pieces, of which none takes long to make."""
    if card.json is not None:
        yield card.json
        return
    version = card.changed
    pieces = []
    for piece in _pieces(card):
        pieces.append(piece)
        yield piece
    if card.changed == version:
        card.json = b"".join(pieces)


def other_state(request: Request) -> Mapping[str, Any]:
    """Return a request that belongs to no pull, in plain values."""
    client = {"address": request.client, "agent": request.agent}
    path = request.record.path
    return {"client": client, "path": path, **_request(request)}


def describe(card: Card) -> str:
    """Say in a sentence why it is no success, how far it is, or how much there was."""
    if card.is_over or card.is_bad:
        return phrase.reason(card.pull)
    return phrase.progress(card.pull, card.rate)


def _pieces(card: Card) -> Iterator[bytes]:
    requests = [*card.pull.requests]  # There may be more before the last piece.
    yield _encode(_pull(card))[:-1] + b',"requests":['
    for number, some in enumerate(batched(requests, REQUESTS_OF_PIECE)):
        states = [
            {**_request(each), "own": [_request(own) for own in each.own]}
            for each in some
        ]
        yield (b"," if number else b"") + _encode(states)[1:-1]
    yield b"]}"


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _pull(card: Card) -> Mapping[str, Any]:
    pull = card.pull
    target, decisive = pull.given, pull.decisive
    login = card.login
    return {
        "id": card.id,
        "client": {
            "address": pull.client,
            "agent": pull.agent,
            "login": None if login in (None, Login.NONE) else login,
        },
        "name": pull.alias,
        "release": target.release,
        "commit": target.commit,
        "result": card.result,
        "is_over": card.is_over,
        "reason": describe(card),
        "finding": decisive and decisive.record.finding,
        "advice": decisive and decisive.record.advice,
        "begin": pull.begin,
        "end": pull.end if card.is_over else None,
        "bytes": card.bytes,
        "total": pull.total,
        "rate": card.rate,
    }


def _request(request: Request) -> Mapping[str, Any]:
    record = request.record
    return {
        "id": request.id,
        "what": phrase.what(request),
        "kind": record.kind,
        "digest": record.digest,
        "method": record.method,
        "status": request.status,
        "outcome": record.outcome,
        "begin": request.begin,
        "seconds": request.seconds,
        "bytes": record.bytes or 0,
        "total": request.total,
        "source": request.source,
        "finding": record.finding,
        "advice": record.advice,
        "comment": request.comment,
    }
