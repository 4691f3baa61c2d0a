"""A finding: the cause by name, a sentence, and the next step.

What servers and files say is shown as it is, but in printable characters, bounded, and
without logins, tokens and the queries of URLs, which are signatures.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from resolver.grammar.reference import printable
from resolver.grammar.secret import without_secrets
from resolver.symptom import Role

__all__ = ["Cause", "Finding", "Role", "netloc", "shown", "shown_url"]

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
    API = "API"
    """It fails, or something else answers in its place."""
    REALM = "realm"
    """Where tokens are issued, or what is issued there."""
    CLOCK = "clock"
    LOGIN = "login"
    RIGHTS = "rights"
    RELEASE = "release"
    MANIFEST = "manifest"
    STORAGE = "storage"
    LIMIT = "rate limit"
    BETWEEN = "in between"
    """Something between two of them changes what is sent."""
    CLIENT = "client"
    """It gave up, or asks for what is not served."""
    OUTPUT = "output"
    """The folder that the image is written to."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and what to do about it."""

    cause: Cause
    sentence: str
    """What is wrong, and with whom; without a full stop."""
    advice: str
    """The next step: who should do what; without a full stop."""

    def after(self, words: str) -> Self:
        """Return the same, with what was seen before the sentence."""
        return replace(self, sentence=f"{words}: {self.sentence}")


def shown(text: str) -> str:
    """Return somebody else's words as a terminal can show them, without secrets."""
    line = printable(without_secrets(" ".join(text.split())))
    return line if len(line) <= LENGTH_MAX else line[: LENGTH_MAX - 3] + "..."


def shown_url(url: str) -> str:
    """Return the URL without a login and without its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    return shown(f"{parts.scheme}://{netloc(url)}{parts.path}")


def netloc(url: str) -> str:
    """Return host and port of the URL, without a login."""
    return urlsplit(url).netloc.rpartition("@")[2]
