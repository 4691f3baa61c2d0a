"""The forward proxy that goes for a host, as the environment names it.

::

    HTTPS_PROXY = [ scheme "://" ] [ user [ ":" password ] "@" ] host [ ":" port ]
    scheme      = "http" / "https"
    NO_PROXY    = entry *( ( "," / " " ) entry )
    entry       = "*" / [ "." / "*." ] name [ ":" port ] / address / network

They are read as most programs do: `HTTPS_PROXY` goes for URLs with https,
`HTTP_PROXY` for those with http, and `ALL_PROXY` for either that has none; of each the
name in lower case counts before the one in capitals. A name in `NO_PROXY` is that host
and every one below it. This machine itself is reached without.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from resolver.grammar.reference import shorten
from resolver.grammar.url import USUAL_PORTS, format_host, parse_host
from resolver.upstream.host import Network, parse_address

LOGIN_REFUSED = 407
_EXAMPLE = "http://user:password@proxy.example.com:3128"
_EXEMPT_EXAMPLE = "example.com,registry.example.com:5000,10.0.0.0/8"
_SEPARATOR = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is asked for connections to others."""

    scheme: Literal["http", "https"]
    """Its own: whether what is said to it is encrypted."""
    host: str
    port: int
    variable: str
    """The one that names it."""
    authorization: str | None = field(default=None, repr=False)
    """Its ``Proxy-Authorization``, which is shown nowhere."""

    @property
    def address(self) -> tuple[str, int]:
        """Where it is."""
        return self.host, self.port

    @property
    def name(self) -> str:
        """The same in words."""
        return f"the proxy {format_host(self.host, self.port)}"

    def url_at(self, address: str) -> str:
        """Return its URL, by one of its addresses."""
        return f"{self.scheme}://{format_host(address, self.port)}"

    def refusal(self, status: int, reason: str) -> str:
        """Say why it makes no connection."""
        if status != LOGIN_REFUSED:
            does = "cannot" if status >= 500 else "refuses to"  # noqa: PLR2004
            return f"{self.name} {does} connect to it: {status} {reason}".rstrip()
        if self.authorization:
            return f"{self.name} does not accept the login in {self.variable} (407)"
        return f"{self.name} asks for a login: write it into {self.variable} (407)"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that there are, and the hosts that are reached without."""

    https: Proxy | None = None
    http: Proxy | None = None
    names: tuple[str, ...] = ()
    """Hosts that are reached without, and those below them; some with a port."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return what the environment says.

        Raises:
            ValueError: a variable has a value that cannot work; the message names it.

        """
        https = _parse_proxy(*_find(environment, "https_proxy"))
        http = _parse_proxy(*_find(environment, "http_proxy"))
        # One that is set and empty is switched off.
        rest = [_is_set(environment, f"{each}_proxy") for each in ("https", "http")]
        if not all(rest):
            every = _parse_proxy(*_find(environment, "all_proxy"))
            https, http = (https if rest[0] else every), (http if rest[1] else every)
        if not (https or http):
            return cls()
        _check_logins(https, http)
        variable, text = _find(environment, "no_proxy")
        entries = _SEPARATOR.split(text)
        if "*" in entries:
            return cls()
        return cls(https, http, *_parse_exempt(variable, filter(None, entries)))

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.https or self.http)

    def find(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy that goes for a host; None where it is reached without."""
        host = host.lower()
        proxy = self.https if scheme == "https" else self.http
        return None if proxy is None or self._is_exempt(host, port) else proxy

    def find_for(self, url: str) -> Proxy | None:
        """Return the proxy that goes for a URL."""
        if not self:
            return None
        parts = urlsplit(url)
        port = parts.port or USUAL_PORTS[parts.scheme]
        return self.find(parts.scheme, parts.hostname or "", port)

    def at(self, address: tuple[str, int] | None) -> Proxy | None:
        """Return the proxy that is there."""
        both = (proxy for proxy in (self.https, self.http) if proxy)
        return next((proxy for proxy in both if proxy.address == address), None)

    def _is_exempt(self, host: str, port: int) -> bool:
        if address := parse_address(host):
            if address.is_loopback or any(address in each for each in self.networks):
                return True
        elif host == "localhost" or host.endswith(".localhost"):
            return True
        places = (host, format_host(host, port))
        return any(
            place == name or place.endswith(f".{name}")
            for name in self.names
            for place in places
        )


NONE = Proxies()
"""Every host is reached without."""


def _check_logins(https: Proxy | None, http: Proxy | None) -> None:
    """Refuse two logins at one proxy, which is known by its address."""
    if not (https and http) or https.address != http.address:
        return
    if https.authorization != http.authorization:
        raise ValueError(
            f"{http.variable}: its login at {http.name} is not that of"
            f" {https.variable}; write the same into both"
        )


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return name in environment or name.upper() in environment


def _find(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable that is set, and its value; in lower case it counts first."""
    name = name if name in environment else name.upper()
    return name, environment.get(name, "").strip()


def _parse_proxy(variable: str, text: str) -> Proxy | None:
    """Return the proxy that a variable names, if it names one.

    Its value is never shown: a login may be anywhere in it.
    """
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        login, _, place = parts.netloc.rpartition("@")
        parse_host(place)
        port = parts.port or USUAL_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ValueError(
            f"{variable}: it names no host; write it as in {_EXAMPLE}, with what is"
            " special in the password as %XX"
        ) from error
    if parts.scheme not in USUAL_PORTS:
        raise ValueError(
            f"{variable}: {parts.scheme}:// cannot be used; write the URL of a proxy"
            f" that speaks HTTP, as {_EXAMPLE}"
        )
    if _has_path(parts):
        raise ValueError(
            f"{variable}: nothing may stand behind its port; write it as in {_EXAMPLE}"
        )
    return Proxy(
        "https" if parts.scheme == "https" else "http",
        parts.hostname or "",
        port,
        variable,
        _authorization(login),
    )


def _has_path(parts: SplitResult) -> bool:
    return bool(parts.path.strip("/") or parts.query or parts.fragment)


def _authorization(login: str) -> str | None:
    """Return the header of a login as it stands in a URL (RFC 7617)."""
    if not login:
        return None
    user, _, password = login.partition(":")
    both = f"{unquote(user)}:{unquote(password)}"
    return f"Basic {base64.b64encode(both.encode()).decode()}"


def _parse_exempt(
    variable: str, entries: Iterable[str]
) -> tuple[tuple[str, ...], tuple[Network, ...]]:
    """Return the names and the networks among the entries.

    Raises:
        ValueError: an entry is neither, so that no host is meant by it.

    """
    names: list[str] = []
    networks: list[Network] = []
    for entry in entries:
        try:
            networks.append(ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            try:
                name = entry.removeprefix("*").removeprefix(".")
                names.append(parse_host(name).lower())
            except ValueError as error:
                raise ValueError(
                    f"{variable}: {shorten(entry)} is neither a name nor a network;"
                    f" write names, addresses and networks, as in {_EXEMPT_EXAMPLE}"
                ) from error
    return tuple(names), tuple(networks)
