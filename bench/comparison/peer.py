"""Reads which other proxy is to be compared, by its URL or by the command for it.

::

    NAME=http://localhost:5001                     in front of the streaming registry
    NAME=http://localhost:5001,http://localhost:5002   and of the redirecting one
    NAME=a-proxy --listen 127.0.0.1:{port} --upstream {registry} --api {api}

A URL has to be one of this machine, where the registry of the run is, which listens on
loopback only. A command is called without a shell, once for each registry.
"""

import re
import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.comparison.api import Installation
from bench.comparison.contestant import BARE, DIRECT, NODE, PROXY

LOOPBACK = ("localhost", "127.0.0.1")
PLACES = ("port", "registry", "api")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another proxy."""

    name: str
    urls: tuple[str, ...] = ()
    """Where it is: in front of the streaming and the redirecting registry."""
    words: tuple[str, ...] = ()
    """What starts it, if it has no URL."""

    def command(self, installation: Installation, port: int) -> list[str]:
        """Return what starts it in front of a registry."""
        values = dict(
            zip(
                PLACES,
                (str(port), installation.registry_url, installation.api_url),
                strict=True,
            )
        )
        return [_PLACE.sub(lambda place: values[place[1]], word) for word in self.words]


def parse_peer(text: str) -> Peer:
    """Return what is to be compared.

    Raises:
        ValueError: it is neither; the message says what it may be.

    """
    name, separator, what = text.partition("=")
    if not (separator and what and _NAME.fullmatch(name)):
        raise ValueError(f"{text!r} is no NAME=URL and no NAME=COMMAND")
    if name in (DIRECT, PROXY, NODE, BARE):
        raise ValueError(f"{name} is measured anyway; give the peer another name")
    if not what.startswith(("http://", "https://")):
        return Peer(name, words=_words(what))
    urls = tuple(what.split(","))
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname not in LOOPBACK or not parts.port:
            raise ValueError(
                f"{url!r} is not on this machine, as http://localhost:5001"
            )
    return Peer(name, urls=urls)


def _words(command: str) -> tuple[str, ...]:
    named = set(_PLACE.findall(command))
    if not {"port", "registry"} <= named <= set(PLACES):
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise ValueError(
            f"{command!r} has to have {{port}} and {{registry}} in it, of {known}"
        )
    return tuple(shlex.split(command))
