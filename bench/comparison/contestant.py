"""Who is compared: a way to the registry, or none."""

from dataclasses import dataclass

from bench.processor import Process

DIRECT = "direct"
"""The registry itself, and for tokens the API."""
PROXY = "proxy"
NODE = "node"
"""A plain reverse proxy in Node.js."""
BARE = "mitmdump"
"""mitmproxy with the proxy's options, and without its addon."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """What clients pull through."""

    name: str
    port: int
    """Of loopback."""
    realm: str
    """The URL at which its clients get tokens."""
    takes_aliases: bool
    """Whether an image is asked for by its alias; else by its location."""
    process: Process | None = None
    """What is looked at, if it is known."""
    idle_memory: int = 0
    """Bytes that it had when it had answered once."""
    is_tls: bool = False
    is_peer: bool = False
    """Whether it came by the command line: then the others go on without it."""

    @property
    def host(self) -> str:
        """What references begin with."""
        return f"localhost:{self.port}"
