"""Decides who works in a soak: clients that do this and that, and one who breaks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from random import Random
from threading import Event

from soak import pull, refusal, rudeness
from soak.client import Client, Ended
from soak.fault import History, break_now_and_then
from soak.outcome import Tally
from soak.scene import Scene

CLIENTS = 12
SEED = 1
PAUSE_SECONDS = 0.1
"""The most that a client rests between two things."""

type Behaviour = Callable[[Client], None]

BEHAVIOURS: dict[Behaviour, int] = {
    pull.pull: 12,
    pull.pull_by_tag: 4,
    pull.pull_several: 4,
    pull.resume: 4,
    pull.look: 4,
    refusal.be_refused: 6,
    refusal.be_unknown: 3,
    refusal.forge: 3,
    refusal.go_elsewhere: 2,
    refusal.check_health: 4,
    rudeness.break_off: 4,
    rudeness.read_slowly: 2,
    rudeness.begin_only: 3,
    rudeness.vanish: 4,
    rudeness.be_idle: 2,
    rudeness.be_malformed: 4,
}
"""What clients do, and how often."""


@contextmanager
def at_work(scene: Scene, history: History, tally: Tally, shift: str) -> Iterator[None]:
    """Let all of them work; each finishes what it does before the context ends."""
    over = Event()
    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        work = [
            threads.submit(
                break_now_and_then, scene, history, _chance(shift, "faults"), over
            )
        ]
        for number in range(CLIENTS):
            client = Client(scene, tally, _chance(shift, number), over)
            work.append(threads.submit(_live, client))
        try:
            yield
        finally:
            over.set()
    for done in work:
        done.result()


def _live(client: Client) -> None:
    """Do one thing after the other, on one connection or on many."""
    names, weights = list(BEHAVIOURS), list(BEHAVIOURS.values())
    try:
        while not client.over.is_set():
            (behave,) = client.chance.choices(names, weights)
            with suppress(Ended):
                behave(client)
            if client.happens(0.3):
                client.reconnect()
            client.rest(client.chance.uniform(0, PAUSE_SECONDS))
    finally:
        client.close()


def _chance(*seed: object) -> Random:
    """Return chance that is the same in every soak; threads take turns as they will."""
    return Random(f"{SEED} {seed}")  # noqa: S311
