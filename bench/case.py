"""Decides what is measured, one thing at a time, and what of it is counted."""

from dataclasses import dataclass
from enum import StrEnum

from bench import visit
from bench.load import Task, Work
from bench.scene import Scene
from bench.visit import Step, Visit
from demo.proxy import Proxy

CLIENTS = 16
STREAMING_CLIENTS = 4
"""As many as keep the proxy busy; more would only take memory."""
MEGA = 1_000_000
ALIASES = (
    "balenablocks/browser-aarch64",
    "balenablocks/browser-aarch64/latest",
    "balenablocks/browser-aarch64/2",
    "balenablocks/browser-aarch64/2.3",
    "balenablocks/browser-aarch64/2.3.8",
    "balenablocks/browser-aarch64/2.3.8_rev1",
    "balenablocks/pinned-app",
    "otherorg/tracker",
)
"""One for each client: concurrent look-ups of the same one are made once for all."""


class Name(StrEnum):
    """What is measured, as the table calls it."""

    PING = "ping"
    PING_NEW = "ping, new connection"
    CHALLENGE = "challenge"
    REMEMBERED = "token, alias remembered"
    LOOKED_UP = "token, alias looked up"
    MANIFEST = "manifest"
    MANIFEST_NEW = "manifest, new connections"
    REDIRECT = "blob, redirected"
    STREAM = "blob of 64 MiB, streamed"
    PULL_NEW = "redirected, new connections"
    PULL_KEPT = "redirected, kept connections"
    PULL_STREAM = "streamed, new connections"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured."""

    name: Name
    proxy: Proxy
    visits: tuple[Visit, ...]
    """What clients ask for; of each client one, in turn."""
    first: tuple[Step, ...] = ()
    clients: int = CLIENTS
    is_kept: bool = True
    is_by_length: bool = False
    """Whether megabytes are counted, and not visits."""

    def task(self, seconds: float, *, is_tls: bool) -> Task:
        """Return what the clients are to do."""
        return Task(
            self.proxy.port,
            self.visits,
            self.clients,
            seconds,
            first=self.first,
            is_tls=is_tls,
            is_kept=self.is_kept,
        )

    def amount(self, work: Work) -> float:
        """Return how much was done."""
        return work.length / MEGA if self.is_by_length else float(len(work.visits))


def all_cases(scene: Scene) -> list[Case]:
    """Return everything that is measured."""
    return [*_requests(scene), *_pulls(scene)]


def _requests(scene: Scene) -> list[Case]:
    proxy, cold, streaming = scene.redirecting, scene.forgetting, scene.streaming
    small, blob = scene.small, scene.blob
    ping = (visit.ask_ping(proxy.host),)
    token = visit.ask_token(proxy.host, small.alias)
    manifest = (visit.ask_manifest(proxy.host, small.alias),)
    redirect = visit.ask_blob(
        proxy.host, small.alias, small.blobs[-1], is_redirected=True
    )
    looked_up = tuple((visit.ask_token(cold.host, alias),) for alias in ALIASES)
    stream = visit.ask_blob(
        streaming.host, blob.alias, blob.blobs[-1], is_redirected=False
    )
    return [
        Case(Name.PING, proxy, (ping,)),
        Case(Name.PING_NEW, proxy, (ping,), is_kept=False),
        Case(Name.CHALLENGE, proxy, ((visit.ask_base(proxy.host),),)),
        Case(Name.REMEMBERED, proxy, ((token,),)),
        Case(Name.LOOKED_UP, cold, looked_up, clients=len(looked_up)),
        Case(Name.MANIFEST, proxy, (manifest,), (token,)),
        Case(Name.MANIFEST_NEW, proxy, (manifest,), (token,), is_kept=False),
        Case(Name.REDIRECT, proxy, ((redirect,),), (token,)),
        Case(
            Name.STREAM,
            streaming,
            ((stream,),),
            (visit.ask_token(streaming.host, blob.alias),),
            clients=STREAMING_CLIENTS,
            is_by_length=True,
        ),
    ]


def _pulls(scene: Scene) -> list[Case]:
    proxy, streaming = scene.redirecting, scene.streaming
    pull = visit.pull(proxy.host, scene.small, is_redirected=True)
    streamed = visit.pull(streaming.host, scene.image, is_redirected=False)
    return [
        Case(Name.PULL_NEW, proxy, (pull,), is_kept=False),
        Case(Name.PULL_KEPT, proxy, (pull,)),
        Case(
            Name.PULL_STREAM,
            streaming,
            (streamed,),
            clients=STREAMING_CLIENTS,
            is_kept=False,
        ),
    ]
