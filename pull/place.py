"""Who takes part in a pull: the registry, the token server and the storage."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cause.connection import fault_of
from cause.finding import Cause, Role, netloc, shown
from resolver.grammar.url import USUAL_PORTS

TIMEOUT = 15
"""Seconds for a connection, and between two pieces of an answer, as docker has it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Who is asked, under which URL, and through which HTTP proxy."""

    role: Role
    url: str = field(repr=False)
    proxy: str | None = field(default=None, repr=False)
    """Its URL, without a login."""

    @property
    def scheme(self) -> str:
        """`http` or `https`, or what is neither."""
        return urlsplit(self.url).scheme

    @property
    def netloc(self) -> str:
        """Host and port, as they stand in the URL."""
        return netloc(self.url)

    @property
    def is_sound(self) -> bool:
        """Whether it can be asked at all."""
        try:
            is_web = self.scheme in USUAL_PORTS and self.port > 0
        except ValueError:
            return False
        return is_web and bool(self.name) and "@" not in self.netloc

    @property
    def name(self) -> str:
        """The host alone."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, be it named or the usual one."""
        return urlsplit(self.url).port or USUAL_PORTS[self.scheme]

    @property
    def address(self) -> str:
        """Host and port, for words about connections."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return shown(f"{name}:{self.port}")

    @property
    def through(self) -> str:
        """By which HTTP proxy it is reached, in words; empty where there is none."""
        if self.proxy is None:
            return ""
        url = self.proxy if "//" in self.proxy else f"//{self.proxy}"
        return f", through the proxy {shown(netloc(url))}"

    @property
    def fault(self) -> Cause:
        """What is at fault where it gives no answer."""
        return fault_of(self.role)

    def __str__(self) -> str:
        """Return it in words."""
        return f"the {self.role} {shown(self.netloc)}{self.through}"
