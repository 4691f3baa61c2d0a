"""Transfers that break: they go on where they were."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cause.finding import Cause, Role
from localcloud.relay import Failure
from localcloud.relay import Fault as Cut
from localcloud.server import Request, Response
from pull import blob, connection
from pull.blob import fetch
from pull.connection import Answer
from pull.fault import Fault
from pull.layout import Layout
from pull.manifest import Descriptor
from pull.place import Place
from pull.progress import progress
from tests.pull.site import LAYER, MARK, Site, digest_of


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long."""
    monkeypatch.setattr(connection, "TIMEOUT", 0.5)
    monkeypatch.setattr(blob, "PAUSE_SECONDS", 0)


@pytest.mark.parametrize("failure", [Failure.CUT, Failure.STALL])
def test_broken_transfer_goes_on(site: Site, failure: Failure, tmp_path: Path) -> None:
    """What has come is not asked for again, and the whole is right."""
    site.line.fail(Cut(failure, MARK, 100_000, is_once=True))
    said = site.pull(layout=Layout(tmp_path / "image"))
    assert any("of 256000 bytes; going on from there" in line for line in said)
    ranges = [request.header("Range") for request in site.storage.requests]
    (span,) = filter(None, ranges)
    assert 90_000 < int(span.removeprefix("bytes=").rstrip("-")) <= 100_000
    path = tmp_path / "image" / "blobs" / digest_of(LAYER).replace(":", "/")
    assert path.read_bytes() == LAYER


def test_storage_without_ranges(site: Site, tmp_path: Path) -> None:
    """Where the rest cannot be had alone, all of it is fetched anew."""
    site.line.fail(Cut(Failure.CUT, MARK, 100_000, is_once=True))
    whole = site.storage.application
    site.storage.application = lambda request: whole(
        Request(request.method, request.target, ())
    )
    site.pull(layout=Layout(tmp_path))
    path = tmp_path / "blobs" / digest_of(LAYER).replace(":", "/")
    assert path.read_bytes() == LAYER


class Endless(Answer):
    """An answer that goes on for ever."""

    def __init__(self) -> None:
        place = Place(Role.STORAGE, "http://storage.example")
        super().__init__(place, requests.Response())
        self.given = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield more and more."""
        while self.given < 10 * len(LAYER):
            self.given += len(LAYER)
            yield LAYER

    def close(self) -> None:
        """Leave it; there is no connection."""


def test_no_more_is_taken_than_there_should_be() -> None:
    """Nobody fills the disk with a blob that does not end."""
    answer = Endless()
    descriptor = Descriptor("", digest_of(LAYER), len(LAYER))
    with (
        progress("blob", descriptor.size, lambda _: None, has_bar=False) as bar,
        pytest.raises(Fault, match="is longer than the 256000 bytes"),
    ):
        fetch(lambda _: answer, descriptor, None, bar)
    assert answer.given == 2 * len(LAYER)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure.CUT, "broke off after"),
        (Failure.STALL, "sends no more for 15 seconds after"),
    ],
)
def test_line_that_always_breaks(site: Site, failure: Failure, words: str) -> None:
    """It is given up after some tries, and said how it breaks."""
    site.line.fail(Cut(failure, b"\r\n\r\n"))
    sentence = site.fault(Cause.STORAGE)
    assert words in sentence
    assert sentence.endswith("bytes, each time anew")


def test_storage_that_goes_away(site: Site) -> None:
    """Nobody is asked for ever."""
    asked = site.storage.requests
    whole = site.storage.application

    def serve(request: Request) -> Response:
        if len(asked) > 2:
            site.line.refuse()
        return whole(request)

    site.storage.application = serve
    site.line.fail(Cut(Failure.CUT, MARK, 100_000))
    assert "refuses the connection" in site.fault(Cause.STORAGE)
