"""Whether registry and API can be reached, and what it costs them to tell."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from resolver.errors import RateLimited, ServiceUnavailable
from resolver.upstream.health import FRESH_SECONDS, Health, Readiness
from resolver.upstream.observer import Contact, Part
from resolver.upstream.registry import Upstream
from tests.resolver.fake import API, REGISTRY, FakeTransport, Reply, answer, challenged

BASE = f"{REGISTRY}/v2/"
TOKEN = f"{API}/auth/v1/token"
MOMENT = 1795454692
DOWN = ServiceUnavailable("down")
ISSUED = answer({"token": "a.b.c"})
REACHED = f"the registry {REGISTRY} can be reached"


class Watch:
    """The clocks, and the network, of a check."""

    def __init__(self, registry: Reply, api: Reply) -> None:
        self.now = 0.0
        self.set_by = 0
        self.network = FakeTransport({BASE: registry, TOKEN: api})
        upstream = Upstream(REGISTRY, None, self.network)
        self.health = Health(
            upstream,
            clock=lambda: self.now,
            wall_clock=lambda: MOMENT + self.now + self.set_by,
        )
        self.close = self.health.close

    def check(self, *, is_stopping: bool = False) -> Readiness:
        """Check once."""
        return asyncio.run(self.health.check(is_stopping=is_stopping))

    @property
    def asked(self) -> tuple[int, int]:
        """How often the registry was asked, and the API."""
        return self.network.count(BASE), self.network.count(TOKEN)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A registry and an API that both answer."""
    with closing(Watch(challenged(), ISSUED)) as watch:
        yield watch


@pytest.mark.parametrize(
    ("registry", "api", "reachable"),
    [
        (challenged(), ISSUED, (True, True)),
        (challenged(), DOWN, (True, False)),
        (challenged(), answer("nonsense"), (True, False)),
        (challenged(), RateLimited("slowly"), (True, True)),
        (DOWN, ISSUED, (False, False)),
        (answer({}, 429), ISSUED, (True, False)),
    ],
    ids=["both", "no API", "nonsense", "429", "no registry", "limited"],
)
def test_parts(registry: Reply, api: Reply, reachable: tuple[bool, bool]) -> None:
    """A part is reachable that answers, and both are needed to be ready."""
    with closing(Watch(registry, api)) as watch:
        readiness = watch.check()
    state = json.loads(readiness.body)
    assert (state["registry"]["reachable"], state["api"]["reachable"]) == reachable
    assert state["ready"] == readiness.is_ready == all(reachable)
    seen = ["2026-11-23T17:24:52Z" if part else None for part in reachable]
    assert [state[part]["last_seen"] for part in ("registry", "api")] == seen


def test_registry_alone() -> None:
    """Where there is no API, nothing is said of one, and nobody asks."""
    network = FakeTransport({BASE: challenged()})
    upstream = Upstream(REGISTRY, None, network)
    with closing(Health(upstream, (Part.REGISTRY,))) as health:
        health.note(Contact(Part.API))
        readiness = asyncio.run(health.check())
    assert set(json.loads(readiness.body)) == {"ready", "registry"}
    assert readiness.is_ready
    assert network.count("") == 1


def test_what_was_heard_counts(watch: Watch) -> None:
    """While pulls go on nobody is asked; after a silence both are, once."""
    for part in Part:
        watch.health.note(Contact(part))
    # The registry is asked which API belongs to it, too.
    for seconds, asked in ((FRESH_SECONDS - 1, (0, 0)), (1, (2, 1)), (0, (2, 1))):
        watch.now += seconds
        assert watch.check().is_ready
        assert watch.asked == asked


def test_part_that_is_down_is_not_asked_all_the_time(watch: Watch) -> None:
    """A failure is remembered as well, with the time when the part was seen last."""
    assert watch.check().is_ready
    watch.network.replies[TOKEN] = DOWN
    watch.now += FRESH_SECONDS
    for _ in range(3):
        sight = watch.check().parts[Part.API]
        assert (sight.is_reachable, sight.seen_at) == (False, MOMENT)
        assert watch.asked[1] == 2
    # A pull that works beats what was found a moment ago.
    watch.health.note(Contact(Part.API))
    assert watch.check().is_ready
    assert watch.asked[1] == 2


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clock_that_is_set(watch: Watch, seconds: int) -> None:
    """It changes what is shown, and neither what is known nor when is asked again."""
    assert watch.check().is_ready
    watch.set_by = seconds
    assert watch.check().is_ready
    assert watch.asked == (2, 1)
    watch.network.replies[TOKEN] = DOWN
    watch.now += FRESH_SECONDS
    sights = watch.check().parts
    assert not sights[Part.API].is_reachable
    assert sights[Part.API].seen_at == MOMENT
    assert sights[Part.REGISTRY].seen_at == MOMENT + FRESH_SECONDS + seconds


def test_checks_at_the_same_time_ask_once(watch: Watch) -> None:
    """Any number of checks costs one question."""

    async def checks() -> list[Readiness]:
        return await asyncio.gather(*(watch.health.check() for _ in range(50)))

    assert all(readiness.is_ready for readiness in asyncio.run(checks()))
    assert watch.asked == (2, 1)


def test_change_is_logged_once(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """The log says when readiness is lost and when it is back."""
    caplog.set_level(logging.INFO, "resolver.upstream.health")
    for reply in (ISSUED, DOWN, DOWN, ISSUED, ISSUED):
        watch.network.replies[TOKEN] = reply
        watch.check()
        watch.now += FRESH_SECONDS
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.INFO]


@pytest.mark.parametrize(
    ("registry", "api", "lines"),
    [
        (challenged(), ISSUED, [REACHED, f"the API {API} can be reached"]),
        (
            challenged(),
            answer({}, 500),
            [REACHED, f"the API {API} fails: the balena API"],
        ),
        (
            *(ServiceUnavailable("down"), ISSUED),
            [
                f"the registry {REGISTRY} fails: down",
                f"the API cannot be asked without the registry {REGISTRY}",
            ],
        ),
    ],
    ids=["both", "no API", "no registry"],
)
def test_each_part_has_a_line_at_the_start(
    registry: Reply, api: Reply, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It says whether it can be reached, by name, and why not."""
    caplog.set_level(logging.INFO)
    with closing(Watch(registry, api)) as watch:
        asyncio.run(watch.health.announce())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(lines)
    assert all(text.startswith(line) for text, line in zip(said, lines, strict=True))
