"""Decides under which names a flow carries what is known of it, and reads it back.

Everything is a plain string or number, because mitmproxy saves it with the flow: what
a saved file says of a pull, it says by these names.
"""

from collections.abc import Mapping
from enum import StrEnum

from mitmproxy import flow as mitmproxy_flow

type Value = str | int | float


class OwnKind(StrEnum):
    """What the proxy itself asked for, to answer a client's request."""

    PROBE = "probe"
    """Which API the registry belongs to; asked once, at the first need."""
    RESOLUTION = "resolution"
    """Which releases there are."""
    GRANT = "grant"
    """A token."""
    SEARCH = "search"
    """Where a blob is stored: what the proxy asks for the client of a blob."""
    CHOICE = "choice"
    """Which of several locations has something, where tags select."""


class Fact(StrEnum):
    """What may be known of a request; the name is the key in the flow's metadata."""

    REQUEST_ID = "balena.request_id"
    """Of the client's request; the requests that were made for it have the same."""
    KIND = "balena.kind"
    """What was asked for: one of `record.Kind`, or of `OwnKind`."""
    OUTCOME = "balena.outcome"
    """How it ended: one of `record.Outcome`; not there as long as it has not."""
    PATH = "balena.path"
    """What the client asked for, without the query."""
    LOGIN = "balena.login"
    """How the client logged in: one of `mitm.story.record.Login`."""
    ALIAS = "balena.alias"
    """The alias; of a request about several they are joined by `SEPARATOR`, as are
    selectors, releases and so on, in the same order."""
    SELECTOR = "balena.selector"
    RELEASE = "balena.release"
    """Its `raw_version`."""
    REVISION = "balena.revision"
    COMMIT = "balena.commit"
    LOCATION = "balena.location"
    STORAGE = "balena.storage"
    """The host that a blob was fetched from, where that is not the registry."""
    CACHE = "balena.cache"
    """Where the resolution is known from: an `observer.CacheState`."""
    REASON = "balena.reason"
    """Why it is this release, or why registry or API gave no answer."""
    REFUSED = "balena.refused"
    """The aliases that were refused."""
    TAGGED = "balena.tagged"
    """How many releases the tags of each alias select among, if they do."""
    DIGEST = "balena.digest"
    CODE = "balena.code"
    """The OCI error code of a refusal, or of an error of the proxy's own."""
    MESSAGE = "balena.message"
    """What the client was told then."""
    WARNING = "balena.warning"
    """What the client was told beside the answer, as that its tag is ignored."""
    FAILURE = "balena.failure"
    """Why there was no answer, or none to its end."""
    BYTES = "balena.bytes"
    """How many the answer's body had."""
    SECONDS = "balena.seconds"
    """From the request's head to the end of the answer."""
    API_SECONDS = "balena.api_seconds"
    """How much of that was spent on the API, retries included."""
    REGISTRY_SECONDS = "balena.registry_seconds"
    """How much of that it took until the registry's answer began."""


_KEYS = {fact: str(fact) for fact in Fact}
SEPARATOR = ", "
"""Between the aliases, releases and so on of a request about several."""


def note(flow: mitmproxy_flow.Flow, facts: Mapping[Fact, Value | None]) -> None:
    """Write down what is known; None leaves what was known before."""
    for fact, value in facts.items():
        if value is not None:
            # A member of an enumeration is no plain string.
            plain = str(value) if isinstance(value, str) else value
            flow.metadata[_KEYS[fact]] = plain


def clear(flow: mitmproxy_flow.Flow) -> None:
    """Take back what was noted."""
    for key in _KEYS.values():
        flow.metadata.pop(key, None)


def read(flow: mitmproxy_flow.Flow) -> dict[Fact, Value]:
    """Return what is known; of a flow that was not this proxy's, nothing."""
    return {
        fact: value
        for fact in Fact
        if isinstance(value := flow.metadata.get(fact), str | int | float)
    }


def text(facts: Mapping[Fact, Value], fact: Fact) -> str:
    """Return a fact in words, or nothing where it is not known."""
    return str(facts.get(fact, ""))
