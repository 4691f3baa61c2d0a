"""Outcomes are remembered per credential, for a time, and shared while they come."""

import asyncio
import logging
import re

import pytest

from resolver.errors import (
    AccessDenied,
    RateLimited,
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
    GONE_SECONDS,
    REFUSAL_SECONDS,
    STALE_SECONDS,
    Lookup,
    ResolutionCache,
)
from resolver.upstream.observer import CacheState
from tests.resolver.fake import LOCATION, candidate, release_row

TTL = 300
ALIAS = parse_alias("org/app/2.3")
ALICE = Credential("Bearer alice", "alice")
DOWN = ServiceUnavailable("the API is down")
LIMITED = RateLimited("limited")
MISSING = ReleaseUnknown("no such release")
PRIVATE = AccessDenied("private")
ELSEWHERE, OTHER = f"v2/{'e' * 32}", "org/other"
type Outcome = str | RegistryError


def text_of(result: Lookup | BaseException) -> str:
    """Return the reason of a resolution, or the message of an error."""
    outcome = result.outcome if isinstance(result, Lookup) else result
    return outcome.reason if isinstance(outcome, Resolution) else str(outcome)


class Loader:
    """An API that answers one thing after the other, and counts; the last one stays."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Resolution:
        """Return or raise what comes next, as soon as it is let."""
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        await self.gate.wait()
        if isinstance(outcome, RegistryError):
            raise outcome
        (release,) = parse_releases({"d": [release_row()]})
        place = Location(LOCATION)
        return Resolution(ALIAS, release, release.images[0], place, outcome)


class Fixture:
    """A cache with a clock, in a loop of its own."""

    def __init__(self, ttl: float = TTL, entries_max: int = 100) -> None:
        self.now = 1000.0
        self.states: list[CacheState] = []
        self.cache = ResolutionCache(
            ttl, clock=lambda: self.now, entries_max=entries_max
        )

    def get(
        self, load: Loader, credential: Credential = ANONYMOUS, name: str = str(ALIAS)
    ) -> str:
        """Return the reason of the resolution, or the message of the error."""
        found = self.cache.resolve(parse_alias(name), credential, load)
        try:
            lookup = asyncio.run(found)
        except RegistryError as error:
            return error.message
        self.states.append(lookup.state)
        return text_of(lookup)

    @property
    def names(self) -> list[str]:
        """The names that are remembered, in their order."""
        return [str(entry.alias) for entry in self.cache.entries()]


@pytest.fixture
def fixture() -> Fixture:
    """A cache of the usual lifetime."""
    return Fixture()


COURSES: dict[str, tuple[list[Outcome], list[tuple[float, Outcome]]]] = {
    "a resolution serves for its time": (
        ["old", "new"],
        [(0, "old"), (TTL - 0.001, "old"), (0.001, "new")],
    ),
    "a refusal serves for a shorter time": (
        [MISSING, "made"],
        [(0, MISSING), (REFUSAL_SECONDS - 0.001, MISSING), (0.001, "made")],
    ),
    "a failure is not remembered": ([DOWN, "up"], [(0, DOWN), (0, "up")]),
    "an expired entry serves while the API fails": (
        ["old", DOWN, LIMITED, "new"],
        [(0, "old"), (TTL + 1, "old"), (0, "old"), (0, "new")],
    ),
    "nothing serves for ever": (
        ["old", DOWN],
        [(0, "old"), (TTL + STALE_SECONDS + 1, DOWN)],
    ),
    "a release that went is gone": (
        ["old", MISSING, DOWN],
        [(0, "old"), (TTL, MISSING), (REFUSAL_SECONDS, DOWN)],
    ),
    "an application that became private is gone": (
        ["old", PRIVATE, DOWN],
        [(0, "old"), (TTL, PRIVATE), (REFUSAL_SECONDS, DOWN)],
    ),
}
"""What the API says, each thing once; what one gets after so many seconds."""


@pytest.mark.parametrize(("outcomes", "steps"), COURSES.values(), ids=COURSES)
def test_lifetime(
    fixture: Fixture, outcomes: list[Outcome], steps: list[tuple[float, Outcome]]
) -> None:
    """Outcomes are remembered for their time, and no failure is (design section 8)."""
    load = Loader(*outcomes)
    for seconds, expected in steps:
        fixture.now += seconds
        assert fixture.get(load) == str(expected)
    assert load.calls == len(outcomes)


def test_lifetime_of_zero_remembers_nothing() -> None:
    """balena_cache_ttl 0 asks the API each time."""
    fixture, load = Fixture(ttl=0), Loader("one", MISSING, "three")
    assert [fixture.get(load) for _ in range(3)] == ["one", str(MISSING), "three"]


def test_state_says_where_an_outcome_is_from(
    fixture: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked for, remembered, or beyond its time, which the log says as well."""
    load = Loader("old", DOWN)
    for seconds in (0, 1, TTL):
        fixture.now += seconds
        fixture.get(load)
    assert fixture.states == [CacheState.MISS, CacheState.HIT, CacheState.STALE]
    assert "org/app/2.3 is taken from the cache beyond its time" in caplog.text


def test_refusal_is_remembered_without_who_met_it(fixture: Fixture) -> None:
    """A remembered refusal keeps no frame, and with it nothing of the request."""
    refusal = ReleaseUnknown("no such release")
    for _ in range(3):
        fixture.get(Loader(refusal))
    assert refusal.__traceback__ is None


def test_credentials_do_not_share(fixture: Fixture) -> None:
    """What one key found is not given to another; a user name means nothing (T4)."""
    load = Loader("alice", "bob", "anonymous", "wrong", "unexpected")
    for credential, expected in (
        (ALICE, "alice"),
        (Credential("Bearer bob", "bob"), "bob"),
        (ANONYMOUS, "anonymous"),
        (Credential("Basic x", ""), "wrong"),
        (Credential("Basic YTphbGljZQ==", "alice"), "alice"),
    ):
        assert fixture.get(load, credential) == expected


def test_key_does_not_stand_in_the_cache(fixture: Fixture) -> None:
    """The cache keeps a fingerprint of it."""
    fixture.get(Loader("x"), ALICE)
    assert "alice" not in str(fixture.cache._entries)


def test_entries_are_bounded() -> None:
    """The entry that was not used for longest makes room."""
    fixture = Fixture(entries_max=2)
    for name in ("org/a", "org/b", "org/a", "org/c"):
        fixture.get(Loader("found"), name=name)
    assert fixture.names == ["org/a", "org/c"]


def test_candidates_count_for_several() -> None:
    """Many candidates take more memory than a name, and so more of what there is."""
    fixture = Fixture(entries_max=20)
    many = Candidates((candidate(),) * 24)
    for name in ("org/a", "org/b", "org/c"):
        fixture.get(Loader(TargetUnknown("no target", many)), name=name)
    assert fixture.names == ["org/b", "org/c"]


@pytest.mark.parametrize("outcome", ["found", MISSING, DOWN], ids=str)
def test_concurrent_requests_make_one(
    outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    """All wait for the first one's answer, also if that client goes away."""
    load = Loader(outcome)

    async def gather() -> list[Lookup | BaseException]:
        cache = ResolutionCache(TTL)
        load.gate.clear()
        tasks = [
            asyncio.create_task(cache.resolve(ALIAS, ANONYMOUS, load))
            for _ in range(200)
        ]
        await asyncio.sleep(0)
        tasks[0].cancel()
        load.gate.set()
        return await asyncio.gather(*tasks[1:], return_exceptions=True)

    with caplog.at_level(logging.ERROR):
        results = asyncio.run(gather())
    assert (load.calls, {*map(text_of, results)}) == (1, {str(outcome)})
    states = {result.state for result in results if isinstance(result, Lookup)}
    assert states <= {CacheState.SHARED}
    assert not caplog.records


def test_entries_can_be_seen_without_a_credential(fixture: Fixture) -> None:
    """Whoever debugs sees what is remembered, for whom, and for how long."""
    fixture.get(Loader("found"), ALICE, "org/app/2")
    fixture.get(Loader("found"))
    fixture.get(Loader(MISSING), name="org/app/9")
    fixture.now += 1
    two, found, refused = fixture.cache.entries()
    assert fixture.names == ["org/app/2", "org/app/2.3", "org/app/9"]
    assert re.fullmatch("key [0-9a-f]{6}", two.asker)
    assert (found.asker, found.seconds) == ("anybody", TTL - 1)
    assert (refused.outcome, refused.seconds) == (MISSING, REFUSAL_SECONDS - 1)
    fixture.now += TTL
    assert [entry.seconds for entry in fixture.cache.entries()] == [-1, -1]


def test_image_that_is_gone_is_forgotten(fixture: Fixture) -> None:
    """Whoever's entry it is; of other images and applications nothing is."""
    for name in ("org/app", "org/app/2", "org/other"):
        fixture.get(Loader("found"), name=name)
    fixture.get(Loader("found"), ALICE, "org/app")
    many = Candidates((candidate("2.0.0", ELSEWHERE), candidate()))
    fixture.get(Loader(TargetUnknown("no target", many)), name="org/app/latest")
    fixture.get(Loader(MISSING), name="org/app/9")
    fixture.now += GONE_SECONDS - 0.001
    slug = ALIAS.slug
    # Where the API still names that image, it is not asked at each pull.
    fixture.cache.forget_image(slug, Location(LOCATION))
    assert len(fixture.names) == 6
    fixture.get(Loader("found"), name="org/app/young")
    fixture.now += 0.001
    fixture.cache.forget_image(slug, Location(ELSEWHERE))
    assert fixture.names == ["org/app", "org/app", "org/app/2", "org/app/young", OTHER]
    fixture.cache.forget_image(slug, Location(LOCATION))
    assert fixture.names == ["org/app/young", OTHER]


def test_entries_can_be_forgotten(fixture: Fixture) -> None:
    """What is forgotten is asked for again; the rest stays."""
    for name in ("org/app/1", "org/app/2", "org/other"):
        fixture.get(Loader("found"), name=name)
    assert fixture.cache.forget("org/app/1") == 1
    assert fixture.names == ["org/app/2", "org/other"]
    assert fixture.cache.forget() == 2
    assert fixture.names == []
