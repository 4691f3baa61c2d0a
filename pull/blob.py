"""The transfer of a blob: resumed where it breaks, checked by size and digest."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import BinaryIO

from cause.finding import Cause
from pull.connection import Answer, Broken
from pull.fault import Fault
from pull.manifest import Descriptor
from pull.place import Place
from pull.progress import Bar

IDLE_TRIES = 3
"""One after the other that bring nothing."""
TRIES = 50
PAUSE_SECONDS = 1.0

type Ask = Callable[[int], Answer]
"""Asks for the blob from such a byte on; raises a Fault where it is refused."""


def fetch(ask: Ask, blob: Descriptor, file: BinaryIO | None, bar: Bar) -> None:
    """Fetch the blob into the file, if there is one.

    Raises:
        Fault: it does not come, or is another one.
        OSError: the file cannot be written.

    """
    transfer, idle = _Transfer(blob, file, bar), 0
    for _ in range(TRIES):
        before = transfer.count
        try:
            with ask(before) as answer:
                how = transfer.take(answer)
                place = answer.place
        except Fault:
            # Where some of it came, whoever sent it may be there again in a moment.
            if not before or idle + 1 >= IDLE_TRIES:
                raise
            idle += 1
            time.sleep(PAUSE_SECONDS)
            continue
        if transfer.count >= blob.size:
            break
        how = f"{how} after {transfer.count} of {blob.size} bytes"
        idle = 0 if transfer.count > before else idle + 1
        if idle >= IDLE_TRIES:
            break
        bar.note(f"     {blob.short} {how}; going on from there")
    transfer.check(place, how)


class _Transfer:
    """What has come so far."""

    def __init__(self, blob: Descriptor, file: BinaryIO | None, bar: Bar) -> None:
        self._blob, self._file, self._bar = blob, file, bar
        self._restart()

    def _restart(self) -> None:
        self.count, self._digest = 0, self._blob.hash()
        if self._file:
            self._file.seek(0)
            self._file.truncate()

    def take(self, answer: Answer) -> str:
        """Take what the answer has of it; return how it ended."""
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return "ends"
        if self.count and not _goes_on(answer, self.count):
            self._restart()
        try:
            for chunk in answer.chunks():
                self.count += len(chunk)
                if self.count > self._blob.size:
                    break
                self._digest.update(chunk)
                if self._file:
                    self._file.write(chunk)
                self._bar.reach(self.count)
        except Broken as error:
            return str(error)
        return "ends"

    def check(self, place: Place, how: str) -> None:
        """See that it is the blob.

        Raises:
            Fault: it is not.

        """
        whose = f"the blob {self._blob.short} from {place}"
        if self.count < self._blob.size:
            raise Fault(
                Cause.STORAGE,
                f"{whose} {how}, each time anew",
                "see what is between: a proxy with a limit of time or size, a full"
                " disk, a bad line",
            )
        if self.count > self._blob.size:
            sentence = f"is longer than the {self._blob.size} bytes of its manifest"
        elif not self._blob.fits(self._digest):
            sentence = "has other bytes: their digest is not that of the manifest"
        else:
            return
        raise Fault(
            Cause.STORAGE,
            f"{whose} {sentence}",
            "pull again; if it stays so, the blob is damaged there, or something on"
            " the way changes answers",
        )


def _goes_on(answer: Answer, count: int) -> bool:
    """Return whether the answer begins where the last one ended."""
    span = answer.headers.get("Content-Range", "").removeprefix("bytes ")
    return span.partition("-")[0] == str(count)
