"""A limit of rate is remembered for the login that it was named to, and ends."""

import pytest

from resolver.upstream.limit import LOGINS_MAX, SECONDS_MAX, Limits
from tests.resolver.fake import API, REGISTRY

KEY = "Bearer made-up-key-0123456789"


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.mark.parametrize("seconds", [1, 2, 30, 86400])
def test_limit_ends(seconds: int) -> None:
    """It holds as long as the server said, but is asked about once a minute."""
    clock = Clock()
    limits = Limits(clock)
    limits.note(API, KEY, seconds)
    assert limits.seconds(API, KEY) == seconds
    clock.now += min(seconds, SECONDS_MAX) - 0.5
    assert limits.seconds(API, KEY) == max(1, seconds - SECONDS_MAX + 1)
    clock.now += 0.5
    assert limits.seconds(API, KEY) is None


def test_limit_is_of_one_login_at_one_server() -> None:
    """Others may ask; and so may anybody without a login, or where no time was said."""
    limits = Limits(Clock())
    limits.note(API, KEY, 2)
    limits.note(API, None, 2)
    limits.note(API, "Bearer other", None)
    limits.note(API, "Bearer third", 0)
    assert limits.seconds(API, KEY) == 2
    for server, login in (
        *((API, None), (API, "Bearer other"), (API, "Bearer third")),
        *((REGISTRY, KEY), (API, KEY.lower())),
    ):
        assert limits.seconds(server, login) is None


def test_memory_is_bounded() -> None:
    """So many are remembered, and by no more than a fingerprint."""
    limits = Limits(Clock())
    for number in range(LOGINS_MAX + 10):
        limits.note(API, f"{KEY}{number}", 2)
    assert len(limits._ends) == LOGINS_MAX
    assert KEY.partition(" ")[2] not in str(limits._ends)
