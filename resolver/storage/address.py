"""The address that a host is reached at, checked before anything connects to it.

A registry that redirects could send the proxy anywhere: to the machine that it runs
on, to a cloud's metadata service, into the network behind it. So an address has to be
public, or the operator has to allow it. A name is looked up once, and the connection
goes to the address that was checked: a second look-up might find another one (DNS
rebinding).

Where a forward proxy goes for the host, the proxy looks the name up and connects, and
what may be reached is its operator's to say. What is inner by its address, or by what
the name is known as here, is refused all the same.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network

from resolver.errors import Reason, ServiceUnavailable
from resolver.grammar.reference import shorten
from resolver.grammar.url import parse_host
from resolver.storage.url import Url, is_ambiguous, refuse
from resolver.upstream.host import LOOK_UP_SECONDS, Address, Hosts, Network
from resolver.upstream.outgoing import NONE, Proxies

logger = logging.getLogger(__name__)

NAME_SECONDS = 1
"""How long a name is looked up that a proxy knows; here perhaps nobody does."""
OPTION = "balena_blobs_allow (BLOBS_ALLOW)"

NAT64 = IPv6Network("64:ff9b::/96")
"""The IPv4 address stands in the last four bytes (RFC 6052); of networks without IPv4
this is the way to storages that have nothing else."""
REFUSED: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            # What not every Python counts among the special addresses of IANA:
            # https://www.iana.org/assignments/iana-ipv4-special-registry
            *("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            # https://www.iana.org/assignments/iana-ipv6-special-registry
            # Teredo and 6to4, the second and third, carry any IPv4 address.
            *("2001:db8::/32", "2001::/23", "2002::/16", "3fff::/20"),
            # All but 2000::/3, which is what there is of global unicast:
            # https://www.iana.org/assignments/ipv6-address-space
            *("::/3", "4000::/2", "8000::/1"),
            # The machine's host at Azure, an address like others to everybody else:
            # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
            "168.63.129.16/32",
        ),
    )
)
"""Not public, in addition to what `ipaddress` says; the same with every Python."""
_EXAMPLE = (
    "write host names, addresses and networks, as in minio.example.com,10.1.0.0/16"
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be reached although it is not of the internet."""

    hosts: frozenset[str] = frozenset()
    """Names in lower case, whatever they resolve to."""
    networks: tuple[Network, ...] = ()

    def covers(self, address: Address) -> bool:
        """Return whether one of the networks has the address in it."""
        return any(
            address in network or _plain(address) in network
            for network in self.networks
        )


def parse_allowed(text: str) -> Allowed:
    """Return what a list with commas allows: host names, addresses and networks.

    Raises:
        ValueError: an entry is none of these; the message names it.

    """
    hosts: set[str] = set()
    networks: list[Network] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(entry))
        except ValueError:
            hosts.add(_parse_name(entry))
    return Allowed(frozenset(hosts), tuple(networks))


def is_public(address: Address) -> bool:
    """Return whether the address is one of the internet's, for every Python alike."""
    plain = _plain(address)
    return plain.is_global and not any(plain in network for network in REFUSED)


class Addresses:
    """The addresses of the hosts that a registry redirects to. For many threads."""

    def __init__(
        self, own_host: str, allowed: Allowed, hosts: Hosts, proxies: Proxies = NONE
    ) -> None:
        """Let everything through to the registry's own host, and to what is allowed."""
        self._proxies = proxies
        self._open = allowed.hosts | {own_host.lower()}
        self._allowed = allowed
        self._hosts = hosts

    def reach(self, destination: Url) -> Sequence[str]:
        """Return the addresses of a URL's host; none where a proxy goes for it. Blocks.

        Raises:
            RedirectRefused: as in `find`.
            ServiceUnavailable: as in `find`.

        """
        scheme, host, port = destination.origin
        if not self._proxies.find(scheme, host, port):
            return self.find(host, port)
        if host not in self._open:
            with suppress(OSError):
                for text in self._hosts.look_up(host, port).result(NAME_SECONDS):
                    self._check(host, text)
        return ()

    def find(self, host: str, port: int) -> Sequence[str]:
        """Return the host's addresses, each of which may be connected to. Blocks.

        Raises:
            RedirectRefused: the host is not of the internet, and not allowed.
            ServiceUnavailable: the host has no address, or it cannot be found.

        """
        try:
            addresses = self._hosts.look_up(host, port).result(LOOK_UP_SECONDS)
        except OSError as error:
            reason = str(error) or "it takes too long"
            raise _unknown(host, reason) from error
        if host not in self._open:
            for text in addresses:
                self._check(host, text)
        return addresses

    def choose(self, host: str, port: int) -> str:
        """Return the one address to connect to. Blocks.

        Raises:
            OSError: none accepts a connection.
            RedirectRefused: as in `find`.
            ServiceUnavailable: as in `find`.

        """
        addresses = self.find(host, port)
        return self._hosts.choose(addresses, port).result(LOOK_UP_SECONDS)

    def _check(self, host: str, text: str) -> None:
        address = ip_address(text)
        if not is_public(address) and not self._allowed.covers(address):
            shown = host if host == text else f"{host}, which is {text},"
            raise refuse(f"{shown} is not on the internet; {OPTION} can allow it")


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address


def _parse_name(entry: str) -> str:
    try:
        name = parse_host(entry).lower()
    except ValueError as error:
        raise ValueError(f"{shorten(entry)} cannot be used; {_EXAMPLE}") from error
    if ":" in name or is_ambiguous(name):
        raise ValueError(f"{shorten(entry)} cannot be used; {_EXAMPLE}")
    return name


def _unknown(host: str, reason: str) -> ServiceUnavailable:
    logger.warning("the storage %s cannot be found: %s", host, reason)
    return ServiceUnavailable.because(
        Reason.CONNECTION,
        "the storage of the registry cannot be found at the moment; try again later",
    )
