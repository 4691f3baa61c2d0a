"""Decides at which address a storage is reached, and whether it may be.

A name is looked up once, and the connection goes to the address that was checked: a
second look-up might find another one (DNS rebinding).
"""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from cachetools import TTLCache

from resolver.errors import ServiceUnavailable
from resolver.storage.address import Allowed, is_public
from resolver.storage.destination import refuse
from resolver.upstream.observer import Reason

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS = 10
"""How long the addresses of a host are used: an image's blobs are asked for at once."""
REMEMBERED_MAX = 1000
OPTION = "balena_blobs_allow (BLOBS_ALLOW)"

type LookUp = Callable[[str, int], Sequence[str]]


def look_up_host(host: str, port: int) -> Sequence[str]:
    """Return the host's addresses, the one to try first at the beginning.

    Raises:
        OSError: there is none, or nobody who knows it answers.

    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Border:
    """What lies between the internet and the proxy's own network."""

    def __init__(
        self,
        own_host: str,
        allowed: Allowed,
        *,
        look_up: LookUp = look_up_host,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let everything through to the registry's own host, and to what is allowed."""
        self._open = allowed.hosts | {own_host.lower()}
        self._allowed = allowed
        self._look_up = look_up
        self._lock = threading.Lock()
        self._known: TTLCache[tuple[str, int], Sequence[str]] = TTLCache(
            REMEMBERED_MAX, REMEMBERED_SECONDS, clock
        )

    def address_of(self, host: str, port: int) -> str | None:
        """Return the address to connect to; None where any will do. Blocks.

        Raises:
            RedirectRefused: the host is not of the internet, and not allowed.
            ServiceUnavailable: the host has no address, or it cannot be found.

        """
        if host in self._open:
            return None
        with self._lock:
            found = self._known.get((host, port))
        if found is None:
            found = self._find(host, port)
            with self._lock:
                self._known[host, port] = found
        # They stand in the order in which they are to be tried, and one is tried: any
        # of those that are like the first, so that another request finds another.
        first = ip_address(found[0]).version
        return random.choice(  # noqa: S311 - no secret
            [address for address in found if ip_address(address).version == first]
        )

    def _find(self, host: str, port: int) -> Sequence[str]:
        try:
            found = self._look_up(host, port)
        except OSError as error:
            raise _unknown(host, str(error)) from error
        for text in found:
            address = ip_address(text)
            if not is_public(address) and not self._allowed.covers(address):
                shown = host if host == text else f"{host}, which is {text},"
                raise refuse(f"{shown} is not on the internet; {OPTION} can allow it")
        return found


def _unknown(host: str, reason: str) -> ServiceUnavailable:
    logger.warning("the storage %s cannot be found: %s", host, reason)
    return ServiceUnavailable.because(
        Reason.CONNECTION,
        "the storage of the registry cannot be found at the moment; try again later",
    )
