"""Decides which addresses belong to the internet, and which others may be reached.

A registry that redirects could send the proxy anywhere: to the machine that it runs
on, to a cloud's metadata service, into the network behind it. What IANA lists as
globally reachable is open (https://www.iana.org/assignments/iana-ipv4-special-registry
and iana-ipv6-special-registry, as Python knows them), and multicast is not. Of an IPv6
address that stands for an IPv4 address, that one counts: IPv4-mapped (RFC 4291, section
2.5.5.2), NAT64 (RFC 6052) and 6to4 (RFC 3056).
"""

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from resolver.grammar.reference import shorten
from resolver.grammar.url import parse_host

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")
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
            candidate.version == network.version and candidate in network
            for network in self.networks
            for candidate in {address, meant_address(address)}
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


def meant_address(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def is_public(address: Address) -> bool:
    """Return whether the address is one of the internet's."""
    meant = meant_address(address)
    return (
        meant.is_global
        and not meant.is_multicast
        and not meant.is_reserved
        and not (isinstance(meant, IPv6Address) and meant.is_site_local)
    )


def is_ambiguous(host: str) -> bool:
    """Return whether a host is an address in a form that not everybody reads alike.

    As 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to some. What ends in a number is an
    address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    last = host.rpartition(".")[2]
    if ":" in host or not (last.isdecimal() or last[:2].lower() == "0x"):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _parse_name(entry: str) -> str:
    try:
        name = parse_host(entry).lower()
    except ValueError as error:
        raise ValueError(f"{shorten(entry)} cannot be used; {_EXAMPLE}") from error
    if ":" in name or is_ambiguous(name):
        raise ValueError(f"{shorten(entry)} cannot be used; {_EXAMPLE}")
    return name
