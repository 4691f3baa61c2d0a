"""Starts whom a measurement compares, when it is wanted for the first time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit

from bench.comparison import recipe
from bench.comparison.api import Installation
from bench.comparison.contestant import DIRECT, Contestant
from bench.comparison.login import fetch_token, find_realm
from bench.comparison.node import install_node_proxy
from bench.comparison.peer import Peer
from bench.comparison.recipe import Recipe
from bench.comparison.site import Site
from bench.comparison.size import Sizes
from bench.comparison.skopeo import name_of
from bench.processor import Process
from bench.program import ProgramError, running
from serve import free_port

type Say = Callable[[str], None]


class Stage:
    """What runs in front of the registries, until the stack is closed."""

    def __init__(
        self,
        site: Site,
        sizes: Sizes,
        peers: Sequence[Peer],
        stack: ExitStack,
        say: Say,
    ) -> None:
        self.site = site
        self.sizes = sizes
        self._peers = peers
        self._stack = stack
        self._say = say
        self._started: dict[object, Contestant] = {}
        self._met: dict[Installation, list[Contestant]] = {}
        self._logs = count()
        try:
            install_node_proxy()
        except ProgramError as error:
            say(f"the proxy in Node.js is left out: {error}")
            self._has_node = False
        else:
            self._has_node = True

    def direct(self, installation: Installation) -> Contestant:
        """Return the registry itself."""
        return Contestant(
            DIRECT,
            installation.port,
            installation.realm,
            takes_aliases=False,
            is_tls=installation.registry_url.startswith("https:"),
        )

    def proxy(
        self, installation: Installation, *arguments: str, number: int = 1
    ) -> Contestant:
        """Return the proxy with these arguments; the same one for the same number."""
        files = self.site.files
        trust = ("--set", f"ssl_verify_upstream_trusted_ca={files.authority}")
        made = recipe.proxy(
            installation,
            *(trust if installation == self.site.encrypted else ()),
            *arguments,
            TLS_CERT=str(files.certificate),
            TLS_KEY=str(files.key),
        )
        return self._once(made, number, *arguments)

    def bare(self, installation: Installation, *arguments: str) -> Contestant:
        """Return mitmdump without the addon, always the same one."""
        return self._once(recipe.bare(installation, *arguments), *arguments)

    def node(
        self, installation: Installation, *, is_tls: bool = False
    ) -> list[Contestant]:
        """Return the proxy in Node.js, if it is to be had."""
        if not self._has_node:
            return []
        made = recipe.node_proxy(self.site, installation, is_tls=is_tls)
        return [self._once(made, is_tls)]

    def peers(self, installation: Installation) -> list[Contestant]:
        """Return those that came by the command line, and work in front of that one."""
        if installation not in self._met:
            met = self._met[installation] = []
            for peer in self._peers:
                try:
                    met += self._meet_peer(peer, installation)
                except ProgramError as error:
                    self._say(f"{peer.name} is left out: {error}")
        return self._met[installation]

    def starters(self, installation: Installation) -> list[Recipe]:
        """Return how everybody is started who can be, in front of that registry."""
        commands = [peer for peer in self._peers if peer.words]
        return [
            recipe.bare(installation),
            recipe.proxy(installation),
            *(recipe.peer(peer, installation) for peer in commands),
        ]

    @contextmanager
    def fresh(self, made: Recipe) -> Iterator[Contestant]:
        """Have a contestant that nobody has used, until the context ends.

        Raises:
            ProgramError: it does not start, or does not answer as a registry does.

        """
        port = free_port()
        log = self.log(made.name)
        command, environment = made.command(port), made.environment
        with running(command, port, log=log, environment=environment) as process:
            yield _meet_started(made, port, process)

    def log(self, name: str) -> Path:
        """Return a new file for what a program prints."""
        return self.site.folder / f"{name}-{next(self._logs)}.log"

    def enter[T](self, context: AbstractContextManager[T]) -> T:
        """Keep something running until the end."""
        return self._stack.enter_context(context)

    def _once(self, made: Recipe, *differences: object) -> Contestant:
        """Return the contestant of that recipe, which is started if there is none."""
        key = (made.name, made.installation, *differences)
        if key not in self._started:
            self._started[key] = self.enter(self.fresh(made))
        return self._started[key]

    def _meet_peer(
        self, peer: Peer, installation: Installation
    ) -> Iterator[Contestant]:
        """Yield the peer, if it is for that registry, and gives a token for it."""
        if peer.words:
            met = self._once(recipe.peer(peer, installation))
        elif url := self._url(peer, installation):
            met = _meet(peer.name, url, installation, is_peer=True)
        else:
            return
        fetch_token(met, name_of(met, self.site.goods.image))
        yield met

    def _url(self, peer: Peer, installation: Installation) -> str | None:
        fronted = (self.site.streaming, self.site.redirecting)
        return dict(zip(fronted, peer.urls, strict=False)).get(installation)


def _meet_started(made: Recipe, port: int, process: Popen[bytes]) -> Contestant:
    scheme = "https" if made.is_tls else "http"
    return _meet(
        made.name,
        f"{scheme}://localhost:{port}",
        made.installation,
        is_peer=made.is_peer,
        process=Process(process.pid),
    )


def _meet(
    name: str,
    url: str,
    installation: Installation,
    *,
    is_peer: bool,
    process: Process | None = None,
) -> Contestant:
    """Return a contestant as it shows itself.

    One that sends its clients to the API for tokens knows nothing of aliases; one that
    issues them itself does.

    Raises:
        ProgramError: it does not answer as a registry does.

    """
    realm = find_realm(url)
    parts = urlsplit(url)
    if parts.port is None:
        raise ProgramError(f"{url} has no port")
    return Contestant(
        name,
        parts.port,
        realm,
        takes_aliases=not realm.startswith(f"{installation.api_url}/"),
        process=process,
        is_tls=parts.scheme == "https",
        is_peer=is_peer,
        idle_memory=process.memory() if process else 0,
    )
