"""JSON that somebody else wrote, read without stopping what goes on beside it.

The parser holds the interpreter to the end, in whatever thread it runs, and what it
takes grows with the number of values: four megabytes of ``[],[],…`` take a second. So
the signs that begin a value are counted first, which takes milliseconds, and more of
them than any sound answer has are refused; so are numbers of more digits than any has.
"""

import json
from collections.abc import Callable
from typing import Any

SIGNS_MAX = 1 << 17
"""An image in an answer of the API has 11 signs among 290 bytes: there is room for
releases with ten thousand images."""
NUMBER_LENGTH_MAX = 32
_SIGNS = (b"[", b"{", b",")


def parse_payload(
    text: bytes,
    signs_max: int = SIGNS_MAX,
    read_object: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return what the JSON says.

    Args:
        text: the JSON.
        signs_max: how many values there may be, about.
        read_object: makes an object of its names and values; if none, a dictionary, in
            which the last of equal names counts.

    Raises:
        ValueError: it is none, or has too many values, or is too deep.

    """
    if (signs := sum(map(text.count, _SIGNS))) > signs_max:
        raise ValueError(f"{signs} signs of JSON are more than {signs_max}")
    try:
        # In UTF-8 alone (RFC 8259 section 8.1); by itself it takes others as well.
        return json.loads(
            text.decode(),
            parse_int=_integer,
            parse_float=_float,
            object_pairs_hook=read_object,
        )
    except RecursionError as error:
        raise ValueError("the JSON is too deep") from error


def read_error(body: bytes) -> tuple[str, str] | None:
    """Return code and message of the first error in an OCI error body, if it is one."""
    try:
        match parse_payload(body):
            case {"errors": [{"code": str(code), **rest}, *_]}:
                return code, str(rest.get("message") or code)
    except ValueError:
        pass
    return None


def _integer(text: str) -> int:
    return int(_short(text))


def _float(text: str) -> float:
    return float(_short(text))


def _short(number: str) -> str:
    if len(number) > NUMBER_LENGTH_MAX:
        raise ValueError(f"a number has {len(number)} digits")
    return number
