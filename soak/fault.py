"""The faults of registry and API, one after the other, and which failures they explain.

A fault lasts a second or two and is followed by a longer time of peace, so that most
requests meet none. It explains what failed while it lasted, and for as long afterwards
as the proxy may still be waiting for an answer.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from random import Random
from threading import Event, Lock
from urllib.parse import urlsplit

from demo.proxy import Proxy
from localcloud.cloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay
from localcloud.server import Response

TIMEOUT_SECONDS = 3
"""Of registry and API, so that it is often over."""
OPTIONS = (
    *("--set", f"balena_api_timeout={TIMEOUT_SECONDS}"),
    *("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}"),
    *("--set", "balena_cache_ttl=5"),
)
AFTERMATH_SECONDS = TIMEOUT_SECONDS + 1
LASTING_SECONDS = (0.5, 2.5)
PEACE_SECONDS = (6.0, 14.0)
RETRY_SECONDS = 0.2
RETRY_AFTER = ("Retry-After", str(TIMEOUT_SECONDS))
"""For so long the proxy asks nothing for a login, though the fault may be over."""
IN_BODY = b"\r\n\r\n"
IN_BLOB = b"application/octet-stream"
IN_MANIFEST = b'"schemaVersion"'
"""What stands in an answer shortly before it is to break off."""
API, REGISTRY = "API", "registry"


@dataclass(frozen=True, slots=True)
class Scene:
    """What requests go through: the proxy between two cables that can be cut."""

    cloud: LocalCloud
    api: Relay
    registry: Relay
    proxy: Proxy

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        """Let the API give this answer to whatever it is asked."""
        self.cloud.api.interpose = lambda _: Response(status, headers, body)

    def mend(self) -> None:
        """Let everything work; a port may be in somebody's use for a moment."""
        self.cloud.api.interpose = None
        for relay in (self.api, self.registry):
            while True:
                with suppress(OSError):
                    relay.mend()
                    break
                time.sleep(RETRY_SECONDS)


@contextmanager
def open_scene() -> Iterator[Scene]:
    """Run all of it."""
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud())
        api, registry = (
            stack.enter_context(Relay(urlsplit(url).port or 0))
            for url in (cloud.api_url, cloud.registry_url)
        )
        proxy = Proxy(
            f"http://127.0.0.1:{registry.port}",
            environment={"API_URL": f"http://127.0.0.1:{api.port}"},
            arguments=OPTIONS,
        )
        yield Scene(cloud, api, registry, stack.enter_context(proxy))


FAULTS: dict[tuple[str, str], Fault | Callable[[Scene], object]] = {
    (API, "down"): lambda scene: scene.api.refuse(),
    (API, "drops connections"): lambda scene: scene.api.drop(),
    (API, "hanging"): Fault(Failure.HANG),
    (API, "resetting"): Fault(Failure.RESET),
    (API, "slow"): Fault(Failure.TRICKLE),
    (API, "cut off"): Fault(Failure.CUT, IN_BODY, 10),
    (API, "stalling"): Fault(Failure.STALL, IN_BODY, 10),
    (API, "says 500"): lambda scene: scene.answer(500, b""),
    (API, "says 429"): lambda scene: scene.answer(429, b"", RETRY_AFTER),
    (API, "speaks no JSON"): lambda scene: scene.answer(200, b"<html>"),
    (API, "of a wrong shape"): lambda scene: scene.answer(200, b'{"d":[{}]}'),
    (REGISTRY, "down"): lambda scene: scene.registry.refuse(),
    (REGISTRY, "drops connections"): lambda scene: scene.registry.drop(),
    (REGISTRY, "hanging"): Fault(Failure.HANG),
    (REGISTRY, "resetting"): Fault(Failure.RESET),
    (REGISTRY, "slow"): Fault(Failure.TRICKLE),
    (REGISTRY, "cut in heads"): Fault(Failure.CUT, b"Content-Type"),
    (REGISTRY, "cut in manifests"): Fault(Failure.CUT, IN_MANIFEST),
    (REGISTRY, "cut in blobs"): Fault(Failure.CUT, IN_BLOB, 300_000),
    (REGISTRY, "stalling in manifests"): Fault(Failure.STALL, IN_MANIFEST),
    (REGISTRY, "stalling in blobs"): Fault(Failure.STALL, IN_BLOB, 300_000),
}
"""What breaks, and how."""


class Tally:
    """Counts of what was right, and every finding; many threads add to it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.faults: list[tuple[str, float]] = []
        """What was broken until when."""
        self.broken = "nothing"
        self._lock = Lock()

    def right(self, what: str, number: int = 1) -> None:
        """Take note of so many answers that were as they have to be."""
        with self._lock:
            self.counts[what] += number

    def find(self, text: str) -> None:
        """Take note of what must not be, whatever was broken."""
        with self._lock:
            self.findings[text] += 1

    def failed(
        self, what: str, came: str, needs: str, began: float, wait: float = 0
    ) -> None:
        """Take note of a failure: a finding, unless a fault explains it."""
        latest = began - AFTERMATH_SECONDS - wait
        if any(part in needs and end >= latest for part, end in self.faults):
            self.right(f"{what}, failed by a fault")
        else:
            self.find(f"{what}: {came}")


def break_now_and_then(scene: Scene, tally: Tally, chance: Random, over: Event) -> None:
    """Let one fault after the other begin and end, until it is over."""
    deck: list[tuple[str, str]] = []
    while not over.wait(chance.uniform(*PEACE_SECONDS)):
        deck = deck or chance.sample(list(FAULTS), len(FAULTS))
        part, how = fault = deck.pop()
        tally.broken = f"{part} {how}"
        tally.faults.append((part, float("inf")))
        begin = FAULTS[fault]
        if isinstance(begin, Fault):
            (scene.api if part == API else scene.registry).fail(begin)
        else:
            begin(scene)
        over.wait(chance.uniform(*LASTING_SECONDS))
        scene.mend()
        tally.faults[-1] = (part, time.monotonic())
        tally.broken = "nothing"
