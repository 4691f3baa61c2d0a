"""Decides how each contestant is started."""

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import serve
from bench.comparison import node
from bench.comparison.api import Installation
from bench.comparison.contestant import BARE, NODE, PROXY
from bench.comparison.peer import Peer
from bench.comparison.site import Site
from bench.program import Command

MITMDUMP = Path(sys.executable).parent / "mitmdump"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What starts a contestant in front of a registry."""

    name: str
    installation: Installation
    command: Callable[[int], Command]
    """For the port of loopback at which it is to listen."""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_tls: bool = False
    """Whether it speaks nothing else."""
    is_peer: bool = False


def proxy(installation: Installation, *arguments: str, **more: str) -> Recipe:
    """Return how `make run` starts the proxy.

    Args:
        installation: what it fronts.
        arguments: more of them for mitmdump.
        more: more variables.

    """
    variables = {
        "REGISTRY_URL": installation.registry_url,
        "API_URL": installation.api_url,
        "GRACE_PERIOD": "0",
        "ARGS": shlex.join(arguments),
        **more,
    }
    serve.link_options(serve.confdir(variables))

    def command(port: int) -> Command:
        chosen = {**variables, "PROXY_PORT": str(port)}
        return [MITMDUMP, *serve.mitmdump_arguments(chosen)]

    return Recipe(PROXY, installation, command, serve.UNBUFFERED)


def bare(installation: Installation, *arguments: str) -> Recipe:
    """Return the same without the addon: with the options of `mitm.conf`."""
    serve.link_options(serve.CONFDIR)

    def command(port: int) -> Command:
        mode = f"reverse:{installation.registry_url}@127.0.0.1:{port}"
        confdir = f"confdir={serve.CONFDIR}"
        return [MITMDUMP, "--mode", mode, "--set", confdir, *arguments]

    return Recipe(BARE, installation, command, serve.UNBUFFERED)


def node_proxy(site: Site, installation: Installation, *, is_tls: bool) -> Recipe:
    """Return how the proxy in Node.js is started."""

    def command(port: int) -> Command:
        files = site.files if is_tls else None
        return node.node_command(installation.registry_url, port, files)

    environment = node.node_environment(site.files)
    return Recipe(NODE, installation, command, environment, is_tls=is_tls)


def peer(wanted: Peer, installation: Installation) -> Recipe:
    """Return how a peer is started that came with a command."""

    def command(port: int) -> Command:
        return wanted.command(installation, port)

    return Recipe(wanted.name, installation, command, is_peer=True)
