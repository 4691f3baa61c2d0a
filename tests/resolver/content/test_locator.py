"""What is asked for by digest is looked for where it may be, and no further."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress

import pytest

from resolver.content.forward import Forward
from resolver.content.locator import (
    ABSENT_SECONDS,
    ASKED_MAX,
    SHARE,
    THREADS,
    Asker,
    Locator,
)
from resolver.content.tag_list import TagPage
from resolver.errors import (
    RateLimited,
    Reason,
    RegistryError,
    ScopeInsufficient,
    ServiceUnavailable,
    TagUnknown,
)
from resolver.grammar.reference import Location
from resolver.release.candidate import Candidates
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import Failure, Part
from resolver.upstream.transport import Answer
from tests.resolver.fake import (
    DIGEST,
    REGISTRY,
    SLUG,
    Notes,
    candidate,
    endpoint,
    fixed,
    jwt,
    pullable,
)

PLACES = [Location(f"v2/{number:032x}") for number in range(3 * ASKED_MAX + 1)]
JWT = jwt(pullable(PLACES))
MANY = Candidates(
    tuple(
        candidate(f"1.{99 - n}.0", place, commit=f"{n:032x}", is_target=n == 3)
        for n, place in enumerate(PLACES)
    )
)
TOKEN = append_aliases(JWT, Aliases({SLUG: MANY}))


class Registry:
    """Answers HEAD by the location; 404 where nothing is said."""

    def __init__(self, replies: Mapping[Location, int | Exception]) -> None:
        self.replies = dict(replies)
        self.asked: list[str] = []
        self.jwt = JWT
        self.running = self.most = 0
        self._lock = threading.Lock()
        self.wait: Callable[[], object] = lambda: None

    def head(
        self, url: str, *, authorization: str, accept: str, deadline: Deadline
    ) -> Answer:
        """Return what the dict says, or raise it."""
        assert authorization == f"Bearer {self.jwt}"
        assert accept
        assert deadline.remaining
        with self._lock:
            self.asked.append(url.removeprefix(f"{REGISTRY}/v2/"))
            self.running += 1
            self.most = max(self.most, self.running)
        self.wait()
        with self._lock:
            self.running -= 1
        for place, reply in self.replies.items():
            if place in url:
                if isinstance(reply, Exception):
                    raise reply
                return Answer(reply, {"Retry-After": "7"}, b"")
        return Answer(404, {}, b"")


@contextmanager
def serving(
    registry: Registry,
    timeout: float = 10,
    observer: Notes | None = None,
    clock: Callable[[], float] = lambda: 0,
) -> Iterator[Locator]:
    """Yield the locator in front of that registry."""
    watcher = observer or Notes()
    locator = Locator(
        REGISTRY,
        registry,
        timeout=timeout,
        selects=True,
        observer=watcher,
        clock=clock,
    )
    with closing(locator):
        yield locator


def decide(
    locator: Locator,
    rest: str,
    token: str | None = TOKEN,
    address: str = "",
    *,
    takes_scopes: bool = True,
) -> Forward:
    """Return the request as it goes upstream."""
    asker = Asker(token and f"Bearer {token}", address, takes_scopes)
    request = asyncio.run(locator.decide(endpoint(f"{SLUG}/{rest}"), asker))
    assert isinstance(request, Forward)
    return request


def locate(registry: Registry, rest: str, token: str = TOKEN) -> Location | None:
    """Return where a locator that knows nothing yet looks for it."""
    with serving(registry) as locator:
        return decide(locator, rest, token).location


BLOB = f"blobs/{DIGEST}"
MANIFEST = f"manifests/{DIGEST}"
OTHER, PASSED, LATER = (f"{DIGEST[:-1]}{end}" for end in "bcd")
OTHER_BLOB = f"blobs/{OTHER}"
BODY = b'{"layers":[{"digest":"%s"}]}' % DIGEST.encode()
ARTIFACT = f"manifests/{DIGEST.replace(':', '-')}"


@pytest.mark.parametrize(
    ("rest", "asked"),
    [
        (BLOB, BLOB),
        (MANIFEST, MANIFEST),
        (f"referrers/{DIGEST}", MANIFEST),
        (f"{ARTIFACT}.sig", MANIFEST),
        (ARTIFACT, MANIFEST),
    ],
)
@pytest.mark.parametrize("status", [200, 307])
def test_it_is_found_where_it_is(rest: str, asked: str, status: int) -> None:
    """The target's location is asked first, and others until one has it."""
    registry = Registry({PLACES[9]: status})
    with serving(registry) as locator:
        request = decide(locator, rest)
        assert request.path == f"/v2/{PLACES[9]}/{rest}"
        assert request.authorization == f"Bearer {JWT}"
        assert request.release
        assert request.release.raw_version == "1.90.0"
        assert registry.asked[0] == f"{PLACES[3]}/{asked}"
        assert set(registry.asked) <= {f"{place}/{asked}" for place in PLACES}
        # It is known now, and the next thing is looked for there first.
        registry.asked.clear()
        assert decide(locator, rest) == request
        assert registry.asked == []
        decide(locator, OTHER_BLOB)
        assert registry.asked == [f"{PLACES[9]}/{OTHER_BLOB}"]


def test_so_many_are_asked_at_the_same_time() -> None:
    """One alone to begin with, then so many side by side, and never more."""
    registry = Registry({})
    together = threading.Barrier(ASKED_MAX)
    registry.wait = lambda: registry.asked[1:] and together.wait(10)
    locate(registry, BLOB)
    assert len(registry.asked) == len(set(registry.asked)) == len(PLACES)
    assert registry.most == ASKED_MAX


@pytest.mark.parametrize("rest", [BLOB, f"{ARTIFACT}.sig", f"referrers/{DIGEST}"])
def test_nobody_has_it(rest: str) -> None:
    """The registry's own answer is that for the target's location."""
    registry = Registry({})
    assert locate(registry, rest) == PLACES[3]
    assert len(registry.asked) == len(PLACES)
    # Where there is one only, the request itself finds out.
    registry.asked.clear()
    one = append_aliases(JWT, Aliases({SLUG: Candidates(MANY.rows[:1])}))
    assert locate(registry, rest, one) == PLACES[0]
    assert registry.asked == []


def test_nobody_has_the_manifest() -> None:
    """It may be that of another release, and the client is told so."""
    with pytest.raises(TagUnknown):
        locate(Registry({}), MANIFEST)


RESTS = [BLOB, MANIFEST, f"{ARTIFACT}.sig", f"referrers/{DIGEST}"]


def look(locator: Locator, rest: str, token: str = TOKEN) -> str:
    """Return where the request goes, or what is said of a manifest that nobody has."""
    try:
        return str(decide(locator, rest, token).location)
    except TagUnknown as error:
        return error.message


@pytest.mark.parametrize("rest", RESTS)
def test_absence_is_remembered_for_a_while(rest: str) -> None:
    """The registry is asked no more, says the same, and is asked anew after that."""
    registry, now = Registry({}), [1000.0]
    with serving(registry, clock=lambda: now[0]) as locator:
        said = look(locator, rest)
        assert len(registry.asked) == len(PLACES)
        for seconds in (0, ABSENT_SECONDS - 0.001):
            now[0] = 1000 + seconds
            assert look(locator, rest) == said
        assert len(registry.asked) == len(PLACES)
        now[0] = 1000 + ABSENT_SECONDS
        assert look(locator, rest) == said
        assert len(registry.asked) == 2 * len(PLACES)
        # Somebody pushed it meanwhile.
        registry.replies[PLACES[9]] = 200
        now[0] += ABSENT_SECONDS
        assert look(locator, rest) == PLACES[9]


def test_absence_is_that_of_one_thing_for_one_token() -> None:
    """Another digest, kind, JWT or list of locations is looked for by itself (S11)."""
    registry = Registry({})
    fewer = append_aliases(JWT, Aliases({SLUG: Candidates(MANY.rows[:5])}))
    with serving(registry) as locator:
        for rest, token, count in (
            (BLOB, TOKEN, len(PLACES)),
            (MANIFEST, TOKEN, len(PLACES)),
            (OTHER_BLOB, TOKEN, len(PLACES)),
            (BLOB, fewer, 5),
            # What is asked of the registry is the same.
            (f"{ARTIFACT}.sig", TOKEN, 0),
        ):
            registry.asked.clear()
            look(locator, rest, token)
            assert len(registry.asked) == count
        registry.jwt = jwt(pullable(PLACES), jti="another")
        other = append_aliases(registry.jwt, Aliases({SLUG: MANY}))
        look(locator, BLOB, other)
        assert len(registry.asked) == len(PLACES)
        registry.replies[PLACES[9]] = 200
        assert look(locator, f"blobs/{PASSED}", other) == PLACES[9]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_what_is_no_absence_is_not_remembered(status: int) -> None:
    """The registry refused the token, or failed, and may say something else now."""
    registry = Registry(dict.fromkeys(PLACES, status))
    with serving(registry) as locator:
        with suppress(RateLimited, ServiceUnavailable):
            decide(locator, BLOB)
        registry.replies = {PLACES[9]: 200}
        assert decide(locator, BLOB).location == PLACES[9]


def test_memory_of_absence_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for one made-up digest after the other takes little of it (T8)."""
    monkeypatch.setattr("resolver.content.locator.ABSENT_MAX", 8)
    registry = Registry({})
    two = append_aliases(JWT, Aliases({SLUG: Candidates(MANY.rows[:2])}))
    with serving(registry) as locator:
        for number in range(9):
            decide(locator, f"blobs/sha256:{number:064x}", two)
        registry.asked.clear()
        decide(locator, f"blobs/sha256:{8:064x}", two)
        assert registry.asked == []
        decide(locator, f"blobs/sha256:{0:064x}", two)
        assert len(registry.asked) == 2


@pytest.mark.parametrize("rest", RESTS)
def test_searches_for_the_same_are_one(rest: str) -> None:
    """Who asks while it is looked for waits for that, and goes without the others."""
    registry, gate = Registry({PLACES[9]: 200}), threading.Event()
    registry.wait = lambda: gate.wait(10)

    async def play(locator: Locator) -> None:
        asker = Asker(f"Bearer {TOKEN}", "10.0.0.1")
        tasks = [
            asyncio.create_task(locator.decide(endpoint(f"{SLUG}/{rest}"), asker))
            for _ in range(20)
        ]
        while not registry.asked:
            await asyncio.sleep(0)
        tasks[0].cancel()
        gate.set()
        found = await asyncio.gather(*tasks[1:])
        assert all(isinstance(each, Forward) for each in found)
        assert {str(getattr(each, "location", "")) for each in found} == {PLACES[9]}

    with serving(registry) as locator:
        asyncio.run(play(locator))
    assert len(registry.asked) == len(set(registry.asked)) <= len(PLACES)


@pytest.mark.parametrize("status", [401, 403])
def test_token_that_is_not_good(status: int) -> None:
    """It is asked with once; what the registry says to it the client hears."""
    registry = Registry(dict.fromkeys(PLACES, status))
    assert locate(registry, BLOB) == PLACES[3]
    assert len(registry.asked) == 1


DOWN = ServiceUnavailable.because(Reason.CONNECTION, "down")


@pytest.mark.parametrize(
    ("reply", "error", "reason"),
    [
        (500, ServiceUnavailable, Reason.STATUS),
        (429, RateLimited, Reason.LIMITED),
        (DOWN, ServiceUnavailable, Reason.CONNECTION),
    ],
)
def test_failure_is_no_absence(
    reply: int | Exception, error: type[RegistryError], reason: Reason
) -> None:
    """Who did not answer may have it; where another one has it, no matter (R13)."""
    notes = Notes()
    with serving(Registry({PLACES[9]: reply}), observer=notes) as locator:
        with pytest.raises(error) as failed:
            decide(locator, BLOB)
        assert notes.events == [Failure(Part.REGISTRY, reason)]
        assert "v2/" not in failed.value.message
    assert locate(Registry({PLACES[9]: reply, PLACES[18]: 200}), BLOB) == PLACES[18]
    registry = Registry(dict.fromkeys(PLACES, reply))
    with pytest.raises(error):
        locate(registry, BLOB)
    assert len(registry.asked) == 1


def test_slow_registry_is_given_up() -> None:
    """The search is over within its time, however slow the registry is."""
    registry, notes, gate = Registry({}), Notes(), threading.Event()
    registry.wait = lambda: gate.wait(10)
    with serving(registry, 0.02, notes) as locator:
        with pytest.raises(ServiceUnavailable):
            decide(locator, BLOB)
        gate.set()
    assert notes.events == [Failure(Part.REGISTRY, Reason.TIMEOUT)]


def test_manifest_that_passed_is_not_looked_for() -> None:
    """What it names is at its own location, and nothing of it elsewhere."""
    registry = Registry({})
    with serving(registry) as locator:
        request = decide(locator, "manifests/1.89.0")
        locator.remember(request, 200, PASSED, BODY, "")
        for rest in (BLOB, f"blobs/{PASSED}", f"manifests/{PASSED}"):
            assert decide(locator, rest).location == PLACES[10]
        assert registry.asked == []
        jwt_of_another = jwt(pullable([PLACES[0], PLACES[3]]))
        token = append_aliases(jwt_of_another, Aliases({SLUG: MANY.cut(2)}))
        with pytest.raises(AssertionError):  # The registry is asked, with that token.
            decide(locator, BLOB, token, "another client's address")


def test_other_answers_are_not_remembered() -> None:
    """What is no manifest, and what is no alias's, says nothing about its digests."""
    registry = Registry({})
    with serving(registry) as locator:
        request = decide(locator, "manifests/1.89.0")
        locator.remember(request, 404, DIGEST, b"", "")
        locator.remember(Forward("/v2/", None), 200, DIGEST, b"", "")
        base = asyncio.run(locator.decide(endpoint(""), Asker(None)))
        assert base == Forward("/v2/", None)
        decide(locator, BLOB)
    assert registry.asked


FAR = f"v2/{'f' * 32}"
FAR_JWT = jwt(pullable([FAR]))
FAR_TOKEN = append_aliases(FAR_JWT, Aliases({f"{SLUG}/1.6.0": fixed(FAR)}))


def pull_far(locator: Locator, address: str) -> None:
    """Let a client pull the manifest of a release that is in no list, by its tag."""
    request = decide(locator, "manifests/1.6.0", FAR_TOKEN, address)
    locator.remember(request, 200, PASSED, BODY, address)


def test_digests_of_a_tag_name_it() -> None:
    """A token of the application alone is not good for them: the tag's is (R9)."""
    registry = Registry({})
    with serving(registry) as locator:
        pull_far(locator, "10.0.0.1")
        for rest in (BLOB, f"manifests/{PASSED}", f"blobs/{PASSED}"):
            with pytest.raises(ScopeInsufficient) as lacking:
                decide(locator, rest, TOKEN, "10.0.0.1")
            assert lacking.value.name == f"{SLUG}/1.6.0"
            assert decide(locator, rest, FAR_TOKEN, "10.0.0.1").location == FAR
        assert registry.asked == []
        # Who gets no other token is not told to, and another client not of the tag.
        decide(locator, BLOB, TOKEN, "10.0.0.1", takes_scopes=False)
        decide(locator, BLOB, TOKEN, "10.0.0.2")
        assert registry.asked


def test_challenge_for_a_digest_names_its_tag() -> None:
    """Containerd asks for it without a token, and gets one with that scope alone."""
    with serving(Registry({})) as locator:
        pull_far(locator, "10.0.0.1")
        application, scope = f"repository:{SLUG}:pull", f"repository:{SLUG}/1.6.0:pull"
        both = f"{application} {scope}"
        # The client may have the manifest already, which then did not pass here.
        for rest in (BLOB, OTHER_BLOB):
            assert decide(locator, rest, None, "10.0.0.1").scope == both
            assert decide(locator, rest, None, "10.0.0.2").scope is None
        for rest in (f"manifests/{OTHER}", "tags/list", f"{ARTIFACT}.sig"):
            assert decide(locator, rest, None, "10.0.0.1").scope is None
        request = decide(locator, "manifests/1.89.0", TOKEN, "10.0.0.1")
        locator.remember(request, 200, LATER, b"", "10.0.0.1")
        # A layer that both have, as far as is known: the token is for both.
        last = f"repository:{SLUG}/1.89.0:pull"
        found = decide(locator, BLOB, None, "10.0.0.1").scope
        assert found == f"{both} {last}"


def test_token_for_a_tag_is_good_for_what_releases_share() -> None:
    """What is known of another tag alone is looked for at this one's location first."""
    registry = Registry({})
    token = append_aliases(JWT, Aliases({f"{SLUG}/1.99.0": fixed(PLACES[0])}))
    with serving(registry) as locator:
        pull_far(locator, "10.0.0.1")
        assert decide(locator, BLOB, token, "10.0.0.1").location == PLACES[0]
    assert registry.asked == []


def test_tag_that_moved_on_names_nothing() -> None:
    """What was pulled as `latest` once is found as if nobody had (R9)."""
    moved = jwt(pullable([PLACES[0]]))
    token = append_aliases(moved, Aliases({f"{SLUG}/1.6.0": fixed(PLACES[0])}))
    with serving(Registry({})) as locator:
        pull_far(locator, "10.0.0.1")
        # The token is for the tag, and is as good as one gets.
        assert decide(locator, BLOB, token, "10.0.0.1").location == PLACES[0]
        assert decide(locator, MANIFEST, None, "10.0.0.1").scope is None
        pull_far(locator, "10.0.0.1")
        assert decide(locator, BLOB, None, "10.0.0.1").scope
        # The same client pulled the tag again, and got another image.
        request = decide(locator, "manifests/1.6.0", token, "10.0.0.1")
        locator.remember(request, 200, LATER, b"", "10.0.0.1")
        assert decide(locator, MANIFEST, None, "10.0.0.1").scope is None
        assert decide(locator, f"blobs/{LATER}", None, "10.0.0.1").scope


def test_searches_of_one_address_delay_no_other() -> None:
    """While one address searches with more connections than threads, others go on."""
    registry = Registry({PLACES[3]: 200})
    gate, began = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        if registry.asked[-1].endswith(OTHER):
            return
        began.release()
        gate.wait(30)

    registry.wait = wait

    async def play(locator: Locator) -> None:
        def search(digest: str, address: str) -> asyncio.Task[Forward | TagPage]:
            asker = Asker(f"Bearer {TOKEN}", address)
            wanted = endpoint(f"{SLUG}/blobs/{digest}")
            return asyncio.create_task(locator.decide(wanted, asker))

        busy = [search(f"sha256:{n:064x}", "192.0.2.1") for n in range(THREADS + 1)]
        for _ in range(SHARE):
            assert await asyncio.to_thread(began.acquire, timeout=10)
        found = await asyncio.wait_for(search(OTHER, "192.0.2.2"), 10)
        assert isinstance(found, Forward)
        assert found.location == PLACES[3]
        assert not any(task.done() for task in busy)
        gate.set()
        await asyncio.gather(*busy)

    with serving(registry, timeout=30) as locator:
        try:
            asyncio.run(play(locator))
        finally:
            gate.set()
