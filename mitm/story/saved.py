"""How a record is read from a saved file, which anybody may have written.

A value of another type, or an absurd number, counts as not known.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

type Reader = Callable[[object], object | None]


def read_values(state: Mapping[object, object], readers: Mapping[str, Reader]) -> Any:
    """Return what a dictionary has, as far as it is sound."""
    return {
        name: value
        for name, read in readers.items()
        if (value := read(state.get(name))) is not None
    }


def read_text(value: object) -> str | None:
    """Return a text."""
    return value if isinstance(value, str) else None


def member_of(*enumerations: type[StrEnum]) -> Reader:
    """Return what reads a member of one of these."""
    members = {str(each): each for kind in enumerations for each in kind}
    return lambda value: members.get(value) if isinstance(value, str) else None
