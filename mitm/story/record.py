"""Decides what is known of a request when it is over, and how it ended."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Self

from mitmproxy import http

from mitm.guard.reader import AnswerReader
from resolver import errors
from resolver.content.forward import Forward
from resolver.grammar import endpoint
from resolver.grammar.reference import (
    Location,
    is_artifact_tag,
    parse_location,
    printable,
)
from resolver.release.release import Release
from resolver.release.resolution import Resolution
from resolver.token.answer import TokenAnswer
from resolver.upstream import observer


class Kind(StrEnum):
    """What was asked for."""

    PING = "ping"
    READY = "ready"
    BASE = "base"
    TOKEN = "token"  # noqa: S105 - no password
    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"
    OTHER = "other"
    """Nothing that is served, or nothing that could be read."""


class Outcome(StrEnum):
    """How it ended."""

    SERVED = "served"
    CHALLENGED = "challenged"
    """The client was told to get a token, and comes back with one."""
    REFUSED = "refused"
    """It asked for what there is not, or may not be."""
    UNAUTHORIZED = "unauthorized"
    """Its key or token is wrong, or its time is over."""
    LIMITED = "limited"
    """The rate is limited."""
    FAILED = "failed"
    """Registry, API or this proxy could not answer, or not to the end."""
    ABORTED = "aborted"
    """The client went away."""


class Login(StrEnum):
    """What the client sent to prove who it is."""

    NONE = "none"
    KEY = "key"
    """A user name and an API key, to the token endpoint."""
    TOKEN = "token"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True)
class KnownRelease:
    """What is shown of a release."""

    version: str
    """Its `raw_version`."""
    revision: str
    commit: str

    @classmethod
    def of(cls, release: Release) -> Self:
        """Return what is shown of the release."""
        revision = "draft" if release.revision is None else str(release.revision)
        return cls(release.raw_version, revision, release.commit)


_KINDS: Mapping[object, Kind] = {
    endpoint.Ping: Kind.PING,
    endpoint.Ready: Kind.READY,
    endpoint.TokenEndpoint: Kind.TOKEN,
    endpoint.Base: Kind.BASE,
    endpoint.Kind.MANIFEST: Kind.MANIFEST,
    endpoint.Kind.BLOB: Kind.BLOB,
    endpoint.Kind.TAGS: Kind.TAGS,
    endpoint.Kind.REFERRERS: Kind.REFERRERS,
}
LOCATION_LENGTH = len("v2/") + 4
"""How much of a location is shown: enough to tell two apart, too little to use it."""
DIGEST_LENGTH = len("sha256:") + 12


@dataclass(slots=True)
class Record:
    """A request, from its head to the end of its answer."""

    request_id: str
    client: tuple[object, ...]
    """Address and port, as mitmproxy has it."""
    method: str
    subject: str
    """What is asked for, in words: the path as long as it is not read."""
    path: str = ""
    """As the client sent it, without the query, in characters that print."""
    login: Login = Login.NONE
    begin: float = field(default_factory=time.monotonic)
    kind: Kind = Kind.OTHER
    alias: str | None = None
    digest: str | None = None
    is_artifact: bool = False
    """Whether a signature or the like is asked for, which most images do not have."""
    warning: str | None = None
    """What the client is told beside the answer."""
    location: Location | None = None
    storage: str | None = None
    """The host that the blob is fetched from, where that is not the registry."""
    release: KnownRelease | None = None
    tag: str | None = None
    """What selected the release, where tags select."""
    because: str | None = None
    """Why it selected that one."""
    is_forwarded: bool = False
    has_token: bool = False
    resolutions: tuple[Resolution, ...] = ()
    refusals: Mapping[str, errors.Refusal] = field(default_factory=dict)
    states: Mapping[str, observer.CacheState] = field(default_factory=dict)
    tagged: Mapping[str, int] = field(default_factory=dict)
    """How many releases the tags of an alias select among, if they do."""
    error: errors.RegistryError | None = None
    """The answer of the proxy's own."""
    reader: AnswerReader | None = None
    """Where the registry's answer comes from."""
    failure: str | None = None
    """Why there is no answer, or none to its end."""
    reason: errors.Reason | None = None
    """The same for the metrics, where the registry is at fault."""
    status: int | None = None
    size: int | None = None
    """Bytes of the body; of a broken one, what came of it, and of the head."""
    seconds: float = 0.0
    api_seconds: float | None = None
    """How much of that the API took, retries included."""
    registry_seconds: float | None = None
    """How much of it passed until the registry's answer began, from `forward_begin`."""
    forward_begin: float = 0.0
    outcome: Outcome = Outcome.FAILED

    def aim(self, wanted: endpoint.Target) -> None:
        """Take note of what is asked for."""
        if not isinstance(wanted, endpoint.Content):
            self.kind = _KINDS[type(wanted)]
            return
        self.kind = _KINDS[wanted.kind]
        reference: str | None = wanted.reference
        if reference and ":" in reference:
            self.digest = reference
            reference = reference[:DIGEST_LENGTH]
        name = brief_location(wanted.name) or wanted.name
        self.alias = str(name)
        self.is_artifact = reference is not None and is_artifact_tag(reference)
        self.subject = " ".join(filter(None, (self.kind, reference, "of", name)))

    @property
    def is_optional(self) -> bool:
        """Whether clients ask for it only to see whether it is there."""
        is_missing = self.status == HTTPStatus.NOT_FOUND and self.error is None
        is_question = self.kind is Kind.REFERRERS or (
            self.kind is Kind.BLOB and self.method == "HEAD"
        )
        return is_missing and (is_question or self.is_artifact)

    def forwarded(self, decided: Forward) -> None:
        """Take note that the request goes to the registry."""
        self.warning = decided.warning
        self.is_forwarded = True
        self.forward_begin = time.monotonic()
        self.has_token = decided.authorization is not None
        self.location = decided.location
        if decided.release:
            self.release = KnownRelease.of(decided.release)
        self.tag, self.because = decided.tag, decided.reason

    def issued(self, answer: TokenAnswer) -> None:
        """Take note of the token that the client gets."""
        self.resolutions = answer.resolutions
        self.refusals = answer.refusals
        self.states = answer.states
        self.tagged = answer.tagged
        if len(answer.states) == 1:
            (self.alias,) = answer.states
        if len(answer.resolutions) == 1:
            (one,) = answer.resolutions
            self.release, self.location = KnownRelease.of(one.release), one.location

    def failed(self, error: errors.RegistryError) -> None:
        """Take note that the proxy answers with an error of its own."""
        self.error = error
        if self.is_forwarded and isinstance(error, errors.ServiceUnavailable):
            self.reason = error.reason

    @contextmanager
    def asking_api(self) -> Iterator[None]:
        """Take note of how long the API is waited for, whatever comes of it."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.api_seconds = time.monotonic() - begin

    def began(self) -> None:
        """Take note that the registry's answer begins."""
        self.registry_seconds = time.monotonic() - self.forward_begin

    def answered(self, response: http.Response, *, is_head: bool) -> None:
        """Take note of how the answer ended: as a whole."""
        self.status = response.status_code
        self.size = 0 if is_head else self._length(response)
        self.seconds = time.monotonic() - self.begin
        self.outcome = self._judge(response.status_code)
        if self.is_forwarded and self.outcome is Outcome.FAILED:
            self.reason = self.reason or errors.Reason.STATUS

    def broken(self, failure: str, *, is_client_there: bool) -> None:
        """Take note that there is no answer, or none to its end."""
        self.failure = failure
        self.size = self.reader.taken if self.reader else None
        self.seconds = time.monotonic() - self.begin
        is_ours = is_client_there and self.is_forwarded
        self.outcome = Outcome.FAILED if is_ours else Outcome.ABORTED
        if is_ours:
            self.reason = self._why(failure)

    def _length(self, response: http.Response) -> int | None:
        """Return the length of a whole body, whether it was held or streamed."""
        length = response.headers.get("content-length", "")
        # What is shown of a token is shorter than what is sent.
        if response.raw_content is not None and self.kind is not Kind.TOKEN:
            return len(response.raw_content)
        if length.isdecimal():
            return int(length)
        return self.reader.taken if self.reader else None

    def _judge(self, status: int) -> Outcome:
        if status == HTTPStatus.UNAUTHORIZED:
            is_asked = isinstance(self.error, errors.TokenError) or not (
                self.error or self.has_token
            )
            return Outcome.CHALLENGED if is_asked else Outcome.UNAUTHORIZED
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return Outcome.LIMITED
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Outcome.FAILED
        nothing = self.refusals and not (self.resolutions or self.tagged)
        if status >= HTTPStatus.BAD_REQUEST or nothing:
            return Outcome.REFUSED
        return Outcome.SERVED

    def _why(self, failure: str) -> errors.Reason:
        """Return why the registry failed, by what mitmproxy says of it."""
        text = failure.lower()
        if (self.reader and self.reader.is_expired) or "too long" in text:
            return errors.Reason.TIMEOUT
        if "tls" in text or "certificate" in text:
            return errors.Reason.TLS
        return errors.Reason.CONNECTION


def brief_location(name: str | None) -> str | None:
    """Return the beginning of a location, or None for what is none."""
    location = None if name is None else parse_location(name)
    return location and f"{location[:LOCATION_LENGTH]}..."


def shown_path(path: str) -> str:
    """Return the path without its query, in characters that print."""
    return printable(path.partition("?")[0])
