"""Who may have a blob from the cache, and for how long (rule C2)."""

from collections.abc import Iterator

import pytest

from resolver.blob.grant import (
    GRANTS_MAX,
    SECONDS_DEFAULT,
    SECONDS_MAX,
    SHARE_MAX,
    Grants,
)
from tests.resolver.fake import DIGEST, EXPIRES, LOCATION, jwt

OTHER_LOCATION = "v2/" + "b" * 32
OTHER_DIGEST = "sha256:" + "b2" * 32


def bearer(**claims: object) -> str:
    """Return the login of a token."""
    return f"Bearer {jwt(**claims)}"


TOKEN = bearer(exp=EXPIRES)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now: float = EXPIRES - 600) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds since the epoch."""
        return self.now


def test_token_has_what_it_was_shown_there() -> None:
    """And nothing else: not elsewhere, not by another token, no other blob."""
    grants = Grants(Clock())
    grants.add(TOKEN, LOCATION, [DIGEST])
    assert grants.has(TOKEN, LOCATION, DIGEST)
    assert not grants.has(TOKEN, OTHER_LOCATION, DIGEST)
    assert not grants.has(TOKEN, LOCATION, OTHER_DIGEST)
    assert not grants.has(bearer(exp=EXPIRES, sub="other"), LOCATION, DIGEST)


def test_parts_are_not_mixed_up() -> None:
    """No text of one part can pass for the end of another."""
    grants = Grants(Clock())
    grants.add(TOKEN, f"{LOCATION}\n{DIGEST}", [OTHER_DIGEST])
    assert not grants.has(TOKEN, LOCATION, f"{DIGEST}\n{OTHER_DIGEST}")


@pytest.mark.parametrize(
    ("token", "seconds"),
    [
        (TOKEN, 600),
        (bearer(exp=None), SECONDS_DEFAULT),
        (bearer(exp="never"), SECONDS_DEFAULT),
        ("Bearer opaque", SECONDS_DEFAULT),
        (bearer(exp=EXPIRES * 2), SECONDS_MAX),
    ],
)
def test_grant_ends_with_the_token(token: str, seconds: int) -> None:
    """Or earlier: a token that does not say when it is over has a minute."""
    clock = Clock()
    grants = Grants(clock)
    grants.add(token, LOCATION, [DIGEST])
    clock.now += seconds - 1
    assert grants.has(token, LOCATION, DIGEST)
    clock.now += 1
    assert not grants.has(token, LOCATION, DIGEST)


def test_token_that_is_over_gets_no_grant() -> None:
    """Whatever some registry still serves it."""
    clock = Clock(EXPIRES)
    grants = Grants(clock)
    grants.add(TOKEN, LOCATION, [DIGEST])
    clock.now -= 600
    assert not grants.has(TOKEN, LOCATION, DIGEST)


def test_grant_to_nobody_is_to_nobody_else() -> None:
    """What was served without a login is granted without one, and to no token."""
    grants = Grants()
    grants.add(None, "/v2/a", ["sha256:1"])
    assert grants.has(None, "/v2/a", "sha256:1")
    assert not grants.has(None, "/v2/b", "sha256:1")
    assert not any(grants.has(each, "/v2/a", "sha256:1") for each in ("", "None"))


def test_grants_add_up() -> None:
    """A token may be for several images of one location."""
    grants = Grants(Clock())
    grants.add(TOKEN, LOCATION, [DIGEST])
    grants.add(TOKEN, LOCATION, [OTHER_DIGEST])
    assert grants.has(TOKEN, LOCATION, DIGEST)
    assert grants.has(TOKEN, LOCATION, OTHER_DIGEST)


def numbers(count: int) -> Iterator[str]:
    """Yield so many digests."""
    return (f"sha256:{number:064}" for number in range(count))


def test_grants_are_bounded() -> None:
    """The oldest ones go; for who has lost one, the registry is asked again."""
    grants = Grants(Clock())
    grants.add(TOKEN, LOCATION, [DIGEST])
    for number in range(GRANTS_MAX // 1000):
        grants.add(bearer(exp=EXPIRES, sub=number), LOCATION, numbers(1000))
    assert not grants.has(TOKEN, LOCATION, DIGEST)
    assert grants.has(bearer(exp=EXPIRES, sub=number), LOCATION, *numbers(1))


def test_grants_of_one_token_are_bounded() -> None:
    """It takes none from others, whatever it pulls."""
    grants = Grants(Clock())
    grants.add(bearer(exp=EXPIRES, sub="other"), LOCATION, [DIGEST])
    grants.add(TOKEN, LOCATION, [DIGEST])
    for _ in range(10):
        grants.add(TOKEN, LOCATION, numbers(SHARE_MAX))
    assert grants.has(bearer(exp=EXPIRES, sub="other"), LOCATION, DIGEST)
    assert not grants.has(TOKEN, LOCATION, DIGEST)
    assert grants.has(TOKEN, LOCATION, *numbers(1))
