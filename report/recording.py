"""The flow file that the page is about, and why there is no page about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mitmproxy import exceptions, flow, http, io

from mitm.story.record import KEY, Record
from report.request import Request, read_request
from report.secret import Secrets

PREFIX = f"{KEY}."
"""Of what older versions of this proxy noted in a flow, each by itself."""
HOW_TO_RECORD = "record with make run ARGS='-w flows'"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class RecordingError(ValueError):
    """There is nothing to make a page of; the message is one line."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of this proxy's requests."""

    name: str
    """The file's."""
    requests: tuple[Request, ...]
    """In the order of time; without any secret."""
    foreign: int
    """How many flows were somebody else's."""
    is_cut: bool
    """Whether the file breaks off."""
    left_out: int = 0
    """How many older pulls there were, of those that are not in a file."""


def read_recording(path: Path) -> Recording:
    """Return what the file has.

    Raises:
        RecordingError: it cannot be read, or has no request of this proxy with facts.

    """
    try:
        with path.open("rb") as file:
            if _is_har(file):
                raise RecordingError(
                    f"{path} is a HAR file, and those keep nothing of what the proxy"
                    f" notes of a request; save flows instead, or {HOW_TO_RECORD}"
                )
            return _read(path, file)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error


def _is_har(file: BinaryIO) -> bool:
    """Return whether it begins as mitmproxy takes it for a HAR file."""
    start = file.read(4)
    file.seek(0)
    return start.removeprefix(_BYTE_ORDER_MARK).startswith(b"{")


def _read(path: Path, file: BinaryIO) -> Recording:
    secrets = Secrets()
    requests: list[Request] = []
    foreign = older = 0
    is_cut = False
    try:
        for each in _flows(file):
            if isinstance(each, http.HTTPFlow) and (record := Record.read(each)):
                secrets.collect(each)
                requests.append(read_request(each, record))
            else:
                foreign += 1
                older += any(str(key).startswith(PREFIX) for key in each.metadata)
    except exceptions.FlowReadException:
        is_cut = True
    if not requests:
        raise RecordingError(f"{path} {_why_nothing(foreign, older, is_cut=is_cut)}")
    requests.sort(key=lambda request: request.begin)
    clean = tuple(request.with_texts(secrets.cut) for request in requests)
    return Recording(path.name, clean, foreign, is_cut)


def _flows(file: BinaryIO) -> Iterator[flow.Flow]:
    """Return the flows.

    Raises:
        FlowReadException: from here on the file is none of flows.

    """
    try:
        for each in io.FlowReader(file).stream():
            notes: tuple[object, object] = each.metadata, each.comment
            match notes:
                case dict(), str():
                    yield each
                case _:
                    raise exceptions.FlowReadException("nobody noted that")
    except (AssertionError, AttributeError, LookupError, OverflowError) as error:
        # It has the form of a flow file, and not the parts of a flow.
        raise exceptions.FlowReadException(str(error)) from error


def _why_nothing(foreign: int, older: int, *, is_cut: bool) -> str:
    if not foreign and is_cut:
        return "is no flow file of mitmproxy, or breaks off in its first flow"
    if not foreign:
        return f"is empty: mitmproxy saves a flow when it is over; {HOW_TO_RECORD}"
    flows = "has one flow" if foreign == 1 else f"has {foreign} flows"
    if older:
        return (
            f"{flows} without facts, as older versions of this proxy wrote them;"
            f" {HOW_TO_RECORD}"
        )
    return f"{flows}, and none of this proxy; {HOW_TO_RECORD}"
