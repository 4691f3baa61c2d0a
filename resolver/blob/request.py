"""What of a blob somebody asks for: all, a range, or nothing that he has not.

As docker-registry answers (rule C4), by RFC 9110 sections 13 and 14: the tag of a blob
is its digest, and there is no date. What is asked in an unusual way is the registry's
to answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from resolver.blob.fetch import Fetch
from resolver.grammar.reference import Digest
from resolver.storage.redirect import Route
from resolver.upstream.observer import CacheState
from resolver.upstream.share import Party

UNUSUAL = ("if-match", "if-unmodified-since")
WHOLE_LENGTH_MIN = 1 << 20
"""A range of the first bytes that has so many is the beginning of a whole pull."""
_RANGE = re.compile(
    r"bytes=(?:(?P<begin>[0-9]{1,18})-(?P<end>[0-9]{0,18})|-(?P<last>[0-9]{1,18}))"
)
_TAG = re.compile(r'(?:W/)?"([^"]*)"|\*')


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for a blob."""

    method: str
    digest: Digest
    headers: Mapping[str, str]
    """By their names in lower case."""

    @property
    def is_usual(self) -> bool:
        """Whether it is asked in a way that is understood here."""
        wanted = self.headers.get("range")
        is_clear = wanted is None or _is_clear(_RANGE.fullmatch(wanted))
        return is_clear and not any(name in self.headers for name in UNUSUAL)

    @property
    def begins_pull(self) -> bool:
        """Whether somebody who asks so is going to have the whole blob.

        Others read a few bytes here and there, or had the beginning before.
        """
        if self.method != "GET" or self.has_it:
            return False
        match = _RANGE.fullmatch(self.headers.get("range", "bytes=0-"))
        if match is None or match["begin"] is None or int(match["begin"]) > 0:
            return False
        return not match["end"] or int(match["end"]) >= WHOLE_LENGTH_MIN - 1

    @property
    def has_it(self) -> bool:
        """Whether the client has it already."""
        return _names(self.headers.get("if-none-match", ""), self.digest)

    @property
    def range(self) -> re.Match[str] | None:
        """The range that it is for, if it is for one."""
        tag = f'"{self.digest}"'  # Here a weak one is another (RFC 9110, 13.1.5).
        if self.headers.get("if-range", tag) != tag:
            return None
        return _RANGE.fullmatch(self.headers.get("range", ""))


@dataclass(frozen=True, slots=True)
class Window:
    """An answer: its head, and which bytes of the blob follow."""

    status: HTTPStatus
    begin: int
    end: int
    """The byte after the last one."""
    size: int
    """Of the whole blob."""
    digest: Digest
    has_body: bool

    @classmethod
    def of(cls, wish: Wish, size: int) -> Self:
        """Return the answer to a request for a blob of this size."""
        status, begin, end = HTTPStatus.OK, 0, size
        if wish.has_it:
            status, end = HTTPStatus.NOT_MODIFIED, 0
        elif match := wish.range:
            status = HTTPStatus.PARTIAL_CONTENT
            if match["last"] is not None:
                begin = max(0, size - int(match["last"]))
            else:
                begin = int(match["begin"])
                end = min(size, int(match["end"]) + 1) if match["end"] else size
            if begin >= end:
                status, begin, end = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
        return cls(status, begin, end, size, wish.digest, wish.method == "GET")

    @property
    def head(self) -> bytes:
        """The head as it is sent."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        if self.status is not HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Length: {self.end - self.begin}")
        if self.status < HTTPStatus.BAD_REQUEST:
            lines.append(f'Etag: "{self.digest}"')
        if self.status < HTTPStatus.MULTIPLE_CHOICES:
            lines += ["Accept-Ranges: bytes", "Content-Type: application/octet-stream"]
        if self.status is HTTPStatus.PARTIAL_CONTENT:
            lines.append(
                f"Content-Range: bytes {self.begin}-{self.end - 1}/{self.size}"
            )
        elif self.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            lines.append(f"Content-Range: bytes */{self.size}")
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request for a blob, as it would go to the registry."""

    wish: Wish
    path: str
    authorization: str
    parties: tuple[Party, ...]

    @property
    def repository(self) -> str:
        """Where the blob is, by its name at the registry."""
        return self.path.rpartition("/blobs/")[0]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a request for a blob goes."""

    route: Route | None
    """None where the registry is to be asked."""
    state: CacheState | None = None
    """Where the blob comes from; None where the cache has no part in it."""
    fetch: Fetch | None = None
    """The one that it is read from while it comes."""


def _is_clear(wanted: re.Match[str] | None) -> bool:
    """Return whether a range names bytes that some blob has."""
    if wanted is None:
        return False
    if wanted["last"]:
        return int(wanted["last"]) > 0
    return not wanted["end"] or int(wanted["begin"]) <= int(wanted["end"])


def _names(tags: str, digest: Digest) -> bool:
    """Return whether a list of tags has the blob's."""
    return any(match[0] == "*" or match[1] == digest for match in _TAG.finditer(tags))
