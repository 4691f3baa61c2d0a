"""Outcomes are remembered per credential, for a time, and shared while they come."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable

import pytest

from resolver.errors import (
    AccessDenied,
    RateLimited,
    Refusal,
    RegistryError,
    ReleaseUnknown,
    ServiceUnavailable,
    TargetUnknown,
)
from resolver.grammar.credential import ANONYMOUS, Credential
from resolver.grammar.reference import Location, parse_alias
from resolver.release.candidate import Candidates
from resolver.release.release import parse_releases
from resolver.release.resolution import Resolution
from resolver.token.cache import (
    REFUSAL_SECONDS,
    STALE_SECONDS,
    Remembered,
    ResolutionCache,
)
from resolver.upstream.observer import CacheState
from tests.resolver.fake import candidate, release_row

TTL = 300
ALIAS = parse_alias("org/app/2.3")
ALICE = Credential("Bearer alice", "alice")
DOWN = ServiceUnavailable("the API is down")
MISSING = ReleaseUnknown("no such release")


class Clock:
    """A clock that goes on when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Loader:
    """An API that answers one thing after the other, and counts."""

    def __init__(self, *outcomes: str | RegistryError) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    async def __call__(self) -> Resolution:
        """Return or raise what comes next; the last outcome stays."""
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        if isinstance(outcome, RegistryError):
            raise outcome
        return resolution(outcome)


def resolution(name: str) -> Resolution:
    """Return a resolution that has the name as its reason."""
    (release,) = parse_releases({"d": [release_row()]})
    location = Location("v2/" + "0" * 32)
    return Resolution(ALIAS, release, release.images[0], location, name)


class Fixture:
    """A cache with a clock, in a loop of its own."""

    def __init__(self, ttl: float = TTL, entries_max: int = 100) -> None:
        self.clock = Clock()
        self.states: list[CacheState] = []
        self.cache = ResolutionCache(ttl, clock=self.clock, entries_max=entries_max)

    def get(
        self,
        load: Callable[[], Awaitable[Resolution]],
        credential: Credential = ANONYMOUS,
        name: str = "org/app/2.3",
    ) -> str:
        """Return the reason of the resolution, or the message of the error."""
        try:
            found = self.cache.resolve(parse_alias(name), credential, load)
            remembered = asyncio.run(_wait(found))
        except RegistryError as error:
            return error.message
        self.states.append(remembered.state)
        outcome = remembered.outcome
        if isinstance(outcome, Resolution):
            return outcome.reason
        assert isinstance(outcome, Refusal)
        return outcome.message


async def _wait(found: Awaitable[Remembered]) -> Remembered:
    return await found


@pytest.fixture
def fixture() -> Fixture:
    """A cache of the usual lifetime."""
    return Fixture()


def test_resolution_is_remembered_for_its_time(fixture: Fixture) -> None:
    """Within the time to live nobody asks again, after it somebody does."""
    load = Loader("old", "new")
    assert fixture.get(load) == "old"
    fixture.clock.now += TTL - 0.001
    assert fixture.get(load) == "old"
    assert fixture.states == [CacheState.MISS, CacheState.HIT]
    assert load.calls == 1
    fixture.clock.now += 0.001
    assert fixture.get(load) == "new"
    assert load.calls == 2


def test_refusal_is_remembered_for_a_shorter_time(fixture: Fixture) -> None:
    """A release made a second ago can be pulled a refusal's lifetime later."""
    load = Loader(MISSING, "made")
    assert fixture.get(load) == MISSING.message
    fixture.clock.now += REFUSAL_SECONDS - 0.001
    assert fixture.get(load) == MISSING.message
    fixture.clock.now += 0.001
    assert fixture.get(load) == "made"
    assert load.calls == 2


def test_refusal_is_remembered_without_who_met_it(fixture: Fixture) -> None:
    """A remembered refusal keeps no frame, and with it nothing of the request."""
    refusal = ReleaseUnknown("no such release")
    for _ in range(3):
        fixture.get(Loader(refusal))
    assert refusal.__traceback__ is None


def test_credentials_do_not_share(fixture: Fixture) -> None:
    """What one key found is not given to another, nor to nobody."""
    load = Loader("alice", "bob", "anonymous", "wrong")
    bob = Credential("Bearer bob", "bob")
    assert fixture.get(load, ALICE) == "alice"
    assert fixture.get(load, bob) == "bob"
    assert fixture.get(load) == "anonymous"
    assert fixture.get(load, Credential("Basic x", "")) == "wrong"
    assert fixture.get(load, ALICE) == "alice"
    assert load.calls == 4


def test_key_does_not_stand_in_the_cache(fixture: Fixture) -> None:
    """The cache keeps a salted fingerprint, and two caches another one."""
    fixture.get(Loader("x"), ALICE)
    assert "alice" not in str(fixture.cache._entries)
    fingerprints = {
        ResolutionCache(TTL)._fingerprint(credential) for credential in (ALICE, ALICE)
    }
    assert len(fingerprints) == 2


def test_same_key_under_another_user_name_is_the_same(fixture: Fixture) -> None:
    """The user name means nothing to the API."""
    load = Loader("one", "two")
    assert fixture.get(load, Credential("Basic YTprZXk=", "key")) == "one"
    assert fixture.get(load, Credential("Basic YjprZXk=", "key")) == "one"


@pytest.mark.parametrize("failure", [DOWN, RateLimited("limited")])
def test_expired_entry_serves_while_the_api_fails(
    fixture: Fixture, caplog: pytest.LogCaptureFixture, failure: RegistryError
) -> None:
    """For a while longer, and the log says so; the API is asked each time."""
    load = Loader("old", failure, failure, "new")
    fixture.get(load)
    fixture.clock.now += TTL + 1
    assert fixture.get(load) == "old"
    assert fixture.states[-1] is CacheState.STALE
    assert "org/app/2.3 is taken from the cache beyond its time" in caplog.text
    assert fixture.get(load) == "old"
    assert fixture.get(load) == "new"
    assert load.calls == 4


def test_nothing_serves_for_ever(fixture: Fixture) -> None:
    """Long after its time an entry is gone, and the failure is told."""
    load = Loader("old", DOWN)
    fixture.get(load)
    fixture.clock.now += TTL + STALE_SECONDS + 1
    assert fixture.get(load) == DOWN.message


@pytest.mark.parametrize("refusal", [MISSING, AccessDenied("private")])
def test_refusal_replaces_what_was_found(
    fixture: Fixture, refusal: RegistryError
) -> None:
    """An application that became private, or a release that went, is gone."""
    load = Loader("old", refusal, DOWN)
    fixture.get(load)
    fixture.clock.now += TTL
    assert fixture.get(load) == refusal.message
    fixture.clock.now += REFUSAL_SECONDS
    assert fixture.get(load) == DOWN.message


def test_failure_is_not_remembered(fixture: Fixture) -> None:
    """The next request asks again."""
    load = Loader(DOWN, "up")
    assert fixture.get(load) == DOWN.message
    assert fixture.get(load) == "up"


def test_entries_are_bounded() -> None:
    """The entry that was not used for longest makes room."""
    fixture = Fixture(entries_max=2)
    for name in ("org/a", "org/b", "org/a", "org/c"):
        fixture.get(Loader(name), name=name)
    load = Loader("asked again")
    assert fixture.get(load, name="org/a") == "org/a"
    assert fixture.get(load, name="org/b") == "asked again"
    assert len(fixture.cache._entries) == 2


def test_candidates_count_for_several() -> None:
    """Many candidates take more memory than a name, and so more of what there is."""
    fixture = Fixture(entries_max=20)
    many = Candidates((candidate(),) * 24)
    for name in ("org/a", "org/b", "org/c"):
        fixture.get(Loader(TargetUnknown("no target", many)), name=name)
    kept = [str(known.alias) for known in fixture.cache.entries()]
    assert kept == ["org/b", "org/c"]


def test_lifetime_of_zero_remembers_nothing() -> None:
    """balena_cache_ttl 0 asks the API each time."""
    fixture = Fixture(ttl=0)
    load = Loader("one", MISSING, "three")
    assert [fixture.get(load) for _ in range(3)] == ["one", MISSING.message, "three"]


class Gate:
    """An API that answers when it is let, and counts."""

    def __init__(self, outcome: str | RegistryError) -> None:
        self.open = asyncio.Event()
        self.outcome = outcome
        self.calls = 0

    async def __call__(self) -> Resolution:
        """Wait, then return or raise."""
        self.calls += 1
        await self.open.wait()
        if isinstance(self.outcome, RegistryError):
            raise self.outcome
        return resolution(self.outcome)


async def gather(outcome: str | RegistryError) -> tuple[int, set[str]]:
    """Return how often the API was asked, and what 200 clients got."""
    cache, gate = ResolutionCache(TTL), Gate(outcome)
    tasks = [
        asyncio.create_task(cache.resolve(ALIAS, ANONYMOUS, gate)) for _ in range(200)
    ]
    await asyncio.sleep(0)
    tasks[0].cancel()
    gate.open.set()
    got = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert not cache._loading
    states = [found.state for found in got if isinstance(found, Remembered)]
    assert set(states) <= {CacheState.SHARED}
    texts = {
        found.outcome.reason
        if isinstance(found, Remembered) and isinstance(found.outcome, Resolution)
        else str(found.outcome if isinstance(found, Remembered) else found)
        for found in got
    }
    return gate.calls, texts


@pytest.mark.parametrize("outcome", ["found", MISSING, DOWN], ids=str)
def test_concurrent_requests_make_one(
    outcome: str | RegistryError, caplog: pytest.LogCaptureFixture
) -> None:
    """All wait for the first one's answer, also if that client goes away."""
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(gather(outcome)) == (1, {str(outcome)})
    assert not caplog.records


def test_entries_can_be_seen_without_a_credential(fixture: Fixture) -> None:
    """Whoever debugs sees what is remembered, for whom, and for how long."""
    fixture.get(Loader("found"), ALICE, "org/app/2")
    fixture.get(Loader("found"))
    fixture.get(Loader(MISSING), name="org/app/9")
    fixture.clock.now += 1
    two, found, refused = fixture.cache.entries()
    assert [str(entry.alias) for entry in (two, found, refused)] == [
        "org/app/2",
        "org/app/2.3",
        "org/app/9",
    ]
    assert re.fullmatch("key [0-9a-f]{6}", two.asker)
    assert (found.asker, found.seconds) == ("anybody", TTL - 1)
    assert (refused.outcome, refused.seconds) == (MISSING, REFUSAL_SECONDS - 1)
    fixture.clock.now += TTL
    assert [entry.seconds for entry in fixture.cache.entries()] == [-1, -1]


def test_entries_can_be_forgotten(fixture: Fixture) -> None:
    """What is forgotten is asked for again; the rest stays."""
    load = Loader("first", "other", "again")
    fixture.get(load)
    fixture.get(load, name="org/other")
    assert fixture.cache.forget("org/app") == 1
    assert fixture.get(load, name="org/other") == "other"
    assert fixture.get(load) == "again"
    assert fixture.cache.forget() == 2
    assert fixture.cache.entries() == []
