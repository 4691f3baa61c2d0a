"""JSON of others is read where it stops nobody, and refused where it would."""

import json
import time
from typing import Any

import pytest

from resolver.grammar.payload import (
    NUMBER_LENGTH_MAX,
    SIGNS_MAX,
    parse_payload,
    read_error,
)
from tests.resolver.fake import ident, image_row, release_row

LENGTH = 3_900_000
SHAPES = {
    "lists": b"[" + b"[]," * (LENGTH // 3) + b"[]]",
    "objects": b"[" + b"{}," * (LENGTH // 3) + b"{}]",
    "numbers": b"[" + b"1," * (LENGTH // 2) + b"1]",
    "members": b"{" + b'"":0,' * (LENGTH // 5) + b'"":0}',
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "long number": b"[" + b"9" * (NUMBER_LENGTH_MAX + 1) + b"]",
    "long fraction": b"[0." + b"9" * NUMBER_LENGTH_MAX + b"]",
    "no JSON": b"<html>",
    "no text": b"\xff\xfe",
    "UTF-16": "{}".encode("utf-16"),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_no_sound_answer_is_like_that(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused for its many values never comes to the parser."""
    parsed: list[str] = []
    loads = json.loads

    def note(text: str, **options: Any) -> object:
        parsed.append(text)
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", note)
    with pytest.raises(ValueError, match=r"."):
        parse_payload(text)
    assert sum(map(len, parsed)) <= SIGNS_MAX


def test_refusal_takes_little_time() -> None:
    """The interpreter is held for a small part of what the parser would hold it."""
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"^\d+ signs of JSON are more than"):
        parse_payload(SHAPES["lists"])
    refused = time.perf_counter()
    json.loads(SHAPES["lists"])
    assert (refused - started) * 5 < time.perf_counter() - refused


@pytest.mark.parametrize("text", [b'{"d":[1,-2.5,null]}', b'"x"', b"0"], ids=ident)
def test_payload(text: bytes) -> None:
    """Everything else is what it says."""
    assert parse_payload(text) == json.loads(text)


def test_longest_sound_answer_is_read() -> None:
    """A hundred releases with a hundred images each are no attack."""
    images = [image_row(f"{number:032x}") for number in range(100)]
    rows = [release_row("2.3.8+rev2", 2, *images) for _ in range(100)]
    text = json.dumps({"d": rows}, separators=(",", ":")).encode()
    assert parse_payload(text)["d"] == rows


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errors":[{"code":"X"},{"code":"Y"}]}', ("X", "X")),
        (b'{"errors":[{"code":"X","message":7}]}', ("X", "7")),
        (b'{"errors":[{"code":7,"message":"m"}]}', None),
        (b'{"errors":[]}', None),
        (b'{"errors":{}}', None),
        (b"[" * 100_000, None),
        (b"\xff", None),
    ],
    ids=ident,
)
def test_first_error_of_a_body_is_read(
    body: bytes, expected: tuple[str, str] | None
) -> None:
    """Code and message come back where it is an OCI error body."""
    assert read_error(body) == expected
