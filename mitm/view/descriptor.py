"""The descriptors of a manifest, what it refers to: type, size and digest.

https://github.com/opencontainers/image-spec/blob/main/descriptor.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mitm.story.quantity import describe_size, exact_size, read_size
from mitm.view.line import cell, counted, fields, first, rest, section, shown
from mitm.view.media_type import word

COLUMNS = ("type", "size", "bytes", "digest")
"""Of `Descriptor.row`."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content, as somebody wrote it: any of it may be senseless."""

    entry: Mapping[str, Any]

    @property
    def size(self) -> int | None:
        """How many bytes the content has, where that is a number."""
        return read_size(self.entry.get("size"))

    @property
    def row(self) -> tuple[str, ...]:
        """What stands in the columns of a table."""
        number, media_type = self.size, word(self.entry.get("mediaType"))
        digest = cell(self.entry.get("digest"))
        if number is None:
            return media_type, "", cell(self.entry.get("size")), digest
        short = describe_size(number).replace("bytes", "B").replace("byte", "B")
        return media_type, short, f"{number:,}", digest

    @property
    def facts(self) -> list[str]:
        """What stands below each other: digest, size, type."""
        number, media_type = self.size, shown(self.entry.get("mediaType"))
        length = shown(self.entry.get("size")) if number is None else exact_size(number)
        return [shown(self.entry.get("digest")), f"{length}, {media_type}"]


def read_descriptor(value: object) -> Descriptor:
    """Return the descriptor that stands there, as far as it is one."""
    return Descriptor(value if isinstance(value, dict) else {"digest": value})


def entries(value: object) -> list[Any]:
    """Return what a list consists of; nothing where it is no list."""
    return value if isinstance(value, list) else []


def read_descriptors(listed: Sequence[object]) -> list[Descriptor]:
    """Return as many of the descriptors in a list as are shown."""
    return [read_descriptor(entry) for entry in first(listed)]


def total(noun: str, listed: Sequence[object]) -> str:
    """Return how many there are, and how large all of it is."""
    sizes = [
        size
        for entry in listed
        if isinstance(entry, dict)
        and (size := read_size(entry.get("size"))) is not None
    ]
    unknown = len(listed) - len(sizes)
    tail = f", and {unknown:,} of no size" if unknown else ""
    return f"{counted(len(listed), noun)}, {exact_size(sum(sizes))}{tail}"


def types(descriptors: Sequence[Descriptor]) -> list[str]:
    """Return what the words in the column of types stand for."""
    words = {shown(each.entry.get("mediaType")): each.row[0] for each in descriptors}
    return section("types", fields((word, name) for name, word in words.items()))


def annotations(
    document: Mapping[str, Any], descriptors: Sequence[Descriptor]
) -> list[str]:
    """Return the annotations, its own and those of what it refers to, by number."""
    pairs = _annotations("", document)
    for number, each in enumerate(descriptors, 1):
        pairs += _annotations(f"{number} ", each.entry)
    lines = fields((name, shown(value)) for name, value in first(pairs))
    return section("annotations", [*lines, *rest(pairs)])


def _annotations(prefix: str, holder: Mapping[str, Any]) -> list[tuple[str, object]]:
    found = holder.get("annotations")
    if not found:
        return []
    if not isinstance(found, dict):
        return [(f"{prefix}not readable", found)]
    return [(prefix + (name or '""'), value) for name, value in found.items()]
