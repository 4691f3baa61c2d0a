"""How far the clocks of others are ahead is known from their answers."""

from email.utils import formatdate

import pytest

from resolver.upstream.clock import HOSTS_MAX, Clocks, read_ahead
from resolver.upstream.observer import Call, Contact, Part

NOW = 1_700_000_000.0


def call(url: str, *headers: tuple[str, str]) -> Call:
    """Return a call that ended now, with these headers in its answer."""
    return Call(url, None, NOW - 1, NOW, 200, headers)


@pytest.mark.parametrize("ahead", [-7200.0, 0.0, 90.0])
def test_ahead(ahead: float) -> None:
    """The last answer counts, and whatever of the host answered."""
    clocks = Clocks()
    clocks.note(call("https://api.example/v7/x", ("Date", "soon")))
    assert clocks.ahead("https://api.example") is None
    date = ("Date", formatdate(NOW + ahead, usegmt=True))
    clocks.note(call("https://api.example/v7/x", date))
    clocks.note(Contact(Part.API))
    assert clocks.ahead("https://api.example/auth") == ahead
    assert clocks.ahead("https://api.example:8443") is None


def test_kept_answer() -> None:
    """The clock of an answer that was kept on the way says nothing of today."""
    date = formatdate(NOW - 7200, usegmt=True)
    assert read_ahead({"date": date, "age": "7200"}, NOW) is None
    assert read_ahead({"date": date, "age": "0"}, NOW) == -7200


@pytest.mark.parametrize(
    "date",
    ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 1900 00:00:00 GMT", "soon", ""],
)
def test_absurd_date(date: str) -> None:
    """A time that no clock has says nothing, and breaks nothing that tells of it."""
    assert read_ahead({"date": date}, NOW) is None


def test_hosts_are_bounded() -> None:
    """Redirects lead to many hosts, and not all of them are remembered."""
    clocks, date = Clocks(), ("Date", formatdate(NOW, usegmt=True))
    for number in range(HOSTS_MAX + 1):
        clocks.note(call(f"https://host{number}.example/", date))
    assert clocks.ahead("https://host0.example") is None
    assert clocks.ahead("https://host1.example") == 0
