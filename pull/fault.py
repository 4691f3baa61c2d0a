"""What can be wrong with a pull: the cause by name, a sentence, and the next step.

What servers and files say is shown as it is, but in printable characters, bounded, and
without logins, tokens and the queries of URLs, which are signatures.
"""

from enum import StrEnum
from urllib.parse import urlsplit

from resolver.grammar.reference import printable

LENGTH_MAX = 500
"""Characters of a server's words."""


class Cause(StrEnum):
    """Where a pull fails."""

    NAME = "name"
    DNS = "DNS"
    NETWORK = "network"
    TLS = "TLS"
    REGISTRY = "registry"
    """It is none, or it fails."""
    REALM = "realm"
    """Where tokens are issued, or what is issued there."""
    CLOCK = "clock"
    LOGIN = "login"
    RIGHTS = "rights"
    RELEASE = "release"
    MANIFEST = "manifest"
    STORAGE = "storage"
    LIMIT = "rate limit"
    OUTPUT = "output"
    """The folder that the image is written to."""


class Fault(RuntimeError):
    """The pull failed; the message is one sentence."""

    def __init__(self, cause: Cause, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.cause = cause
        self.advice = advice


def shown(text: str) -> str:
    """Return somebody else's words as a terminal can show them."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LENGTH_MAX else line[: LENGTH_MAX - 3] + "..."


def shown_url(url: str) -> str:
    """Return the URL without a login and without its query."""
    parts = urlsplit(url)
    return shown(f"{parts.scheme}://{netloc(url)}{parts.path}")


def netloc(url: str) -> str:
    """Return host and port of the URL, without a login."""
    return urlsplit(url).netloc.rpartition("@")[2]
