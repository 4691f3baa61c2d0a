"""The record of a request: what is known of it, and how it ended.

A flow carries it as one dictionary of plain values, ``flow.metadata["balena"]``, that
mitmproxy saves with the flow and that filters find with ``~meta``. Log line, comment,
explanation, view and report are made from it. It has, as far as they are known::

    kind               what was asked for: a `Kind`, or an `OwnKind`
    alias              the alias; several are joined by ", "
    request_id         the client's; requests that were made for it have the same
    outcome            how it ended: an `Outcome`; missing as long as it has not
    path               what the client asked for, without the query
    login              how the client logged in: a `Login`
    storage            host that a blob was fetched from, if not from the registry
    mover              who sends or fetches a blob instead of this proxy: a `Mover`
    reason             why the registry failed: an `errors.Reason`
    digest             of the manifest or blob that was asked for
    code, message      OCI error code and words with which the client was refused
    warning            what the client was told beside the answer
    failure            why there was no answer, or none to its end
    fault              what is wrong, by name: a `cause.finding.Cause`
    finding            what is wrong, in a sentence
    advice             what to do about it
    wants_login        whether a registry that takes logins itself was asked without one
    agent              what the client calls itself, which a storage is not told
    session            what stands for the token that was issued or sent, so that
                       requests with the same one are known to be of one client
    connection         mitmproxy's name for the client's connection; missing where
                       a trusted reverse proxy shares its connections among clients
    forwarded_for      the client's address, where such a reverse proxy told it
    bytes              length of the answer's body
    seconds            from the request's head to the end of the answer
    api_seconds        of these, those that the API took, retries included
    registry_seconds   of these, those until the registry's answer began
    aliases            a list with what each alias came to:
      alias
      tag              the tag that selected the release, where one did
      release          its `raw_version`
      revision         its number, or "draft"
      commit
      location
      cache            where that is known from: an `observer.CacheState`
      reason           why it is this release
      tagged           how many releases tags select among, where they do
      code, message    OCI error code and words of a refusal
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Self

from mitmproxy import flow as mitmproxy_flow
from mitmproxy import http

from cause.certificate import Certificate
from cause.finding import Cause, Finding
from mitm.guard.reader import AnswerReader
from mitm.story.alias import AliasRecord, KnownRelease
from mitm.story.kind import (
    CONTENT,
    OWN_KINDS,
    Kind,
    Login,
    Mover,
    Outcome,
    OwnKind,
)
from mitm.story.quantity import read_size
from mitm.story.saved import Reader, member_of, read_text, read_values
from mitm.story.session import session_of
from resolver import errors
from resolver.blob.fetch import Fetch
from resolver.content.forward import Forward
from resolver.grammar import endpoint, url
from resolver.grammar.credential import EMPTY_BASIC, Credential, bearer_token
from resolver.grammar.reference import brief_location, is_artifact_tag, printable
from resolver.grammar.timestamp import read_seconds
from resolver.naming import Naming
from resolver.token.answer import TokenAnswer
from resolver.upstream import observer
from resolver.upstream.registry import Upstream

type Head = tuple[int, tuple[tuple[bytes, bytes], ...]]
"""Status and header fields of an answer."""
type Content = bytes

KEY = "balena"
"""Of the record in a flow's metadata."""
SEPARATOR = ", "
"""Between the aliases of a request for several."""
DIGEST_LENGTH = len("sha256:") + 12
COMMIT_LENGTH = 7
AGENT_LENGTH_MAX = 60
"""Characters of a client's name for itself; docker tells its whole build."""
PATH_LENGTH_MAX = 1000
"""Characters of a path that is told; the longest that means anything has 400."""
UNKNOWN_PORT = "-"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(slots=True)
class Record:
    """A request, from its head to the end of its answer."""

    request_id: str = ""
    client: tuple[object, ...] = ()
    """Address and port, as mitmproxy has it."""
    method: str = "GET"
    path: str | None = None
    """As the client sent it, without the query, in characters that print."""
    login: Login | None = None
    kind: Kind | OwnKind = Kind.OTHER
    alias: str | None = None
    aliases: list[AliasRecord] = field(default_factory=list)
    digest: str | None = None
    warning: str | None = None
    storage: str | None = None
    cache: observer.CacheState | None = None
    """Where a blob came from, where the cache had a part in it."""
    mover: Mover | None = None
    code: str | None = None
    message: str | None = None
    failure: str | None = None
    fault: Cause | None = None
    finding: str | None = None
    advice: str | None = None
    agent: str | None = None
    session: str | None = None
    connection: str | None = None
    forwarded_for: str | None = None
    wants_login: bool | None = None
    reason: errors.Reason | None = None
    outcome: Outcome | None = None
    status: int | None = None
    """The answer's; None as long as there is none."""
    bytes: int | None = None
    """Of the body; of a broken one, what came of it, and of the head."""
    seconds: float | None = None
    api_seconds: float | None = None
    registry_seconds: float | None = None

    # What is known only until it is over.
    begin: float = 0.0
    forward_begin: float = 0.0
    is_forwarded: bool = False
    has_token: bool = False
    realm: str = ""
    """Where a client without a token that is good is sent for one."""
    host: str = ""
    """The one that is asked, if one is: with its port, unless that is the usual one."""
    error: errors.RegistryError | None = None
    """The answer of the proxy's own."""
    reader: AnswerReader | None = None
    """Where the registry's answer comes from."""
    fetch: Fetch | None = None
    """What brings a blob into the cache that the client gets from there."""
    proxy: str = ""
    """The forward proxy that it comes through, in words."""
    head: Head | None = None
    """Status and headers of the answer as it came, whatever the client gets."""
    content: Content = b""
    """Its body, where it was held."""
    certificate: Certificate | None = None
    """The one with which the server was not trusted."""
    is_endless: bool = False
    """Whether nothing but the end of the connection is the end of the answer."""
    is_slow: bool = False
    """Whether the client took too little, and was let go."""
    is_back: bool = False
    """Whether it asks for a blob that it was redirected for a moment ago."""
    namespace: str = ""
    """The registry that containerd wants, as it says in the query."""
    client_scheme: str = ""
    """By which the client came, where headers say so that are not trusted."""
    is_like_key: bool | None = None
    """Whether the password is what balena issues; None where none was sent."""
    token_length: int = 0
    """Characters of the token that the registry is sent."""
    upstream: Upstream | None = None
    """The registry that is fronted."""
    naming: Naming | None = None
    """What names are there, and who issues tokens for them."""
    issuer_ahead: float | None = None
    """Seconds that the clock of who issues tokens is ahead, where that may matter."""

    @classmethod
    def of(
        cls, flow: http.HTTPFlow, headers: Mapping[str, str], *, trust_forwarded: bool
    ) -> Self:
        """Return the record of a request that begins.

        Args:
            flow: the request.
            headers: the headers, as they came.
            trust_forwarded: whether they are to be believed about the client.

        """
        request_id = flow.id
        client: tuple[object, ...] = flow.client_conn.peername
        address = None
        if trust_forwarded:
            name = headers.get("x-request-id", "")
            request_id = name if _REQUEST_ID.fullmatch(name) else request_id
            if address := url.client_address(headers):
                client = (address, UNKNOWN_PORT)
        record = cls(request_id, client, printable(flow.request.method))
        record.connection = None if trust_forwarded else flow.client_conn.id
        record.forwarded_for = address
        record.agent = shown_agent(headers.get("user-agent", ""))
        record.path = shown_path(flow.request.path)
        record.login = _login(headers.get("authorization", ""))
        if not trust_forwarded:
            record.client_scheme = url.forwarded_scheme(headers)
        record.begin = time.monotonic()
        return record

    @classmethod
    def read(cls, flow: mitmproxy_flow.Flow) -> Self | None:
        """Return the record that a flow carries; None of one that is not this proxy's.

        Method and status are the flow's own, so they are not written down again.
        """
        state = flow.metadata.get(KEY)
        if not isinstance(state, dict) or not isinstance(state.get("kind"), str):
            return None
        record = cls.from_dict(state)
        if isinstance(flow, http.HTTPFlow):
            record.method = flow.request.method
            record.status = flow.response.status_code if flow.response else None
        return record

    @classmethod
    def from_dict(cls, state: Mapping[Any, Any]) -> Self:
        """Return the record that a dictionary is, as far as it is sound."""
        return cls(**read_values(state, _READERS))

    def save(self, flow: mitmproxy_flow.Flow) -> None:
        """Let the flow carry what is known by now."""
        flow.metadata[KEY] = self.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain values; a member of an enumeration is no plain string."""
        values = zip(_READERS, _VALUES(self), strict=True)
        state = {name: value for name, value in values if value is not None}
        state["kind"] = str(self.kind)
        if not self.request_id:
            del state["request_id"]
        if self.login:
            state["login"] = str(self.login)
        if self.mover:
            state["mover"] = str(self.mover)
        if self.outcome:
            state["outcome"] = str(self.outcome)
        if self.reason:
            state["reason"] = str(self.reason)
        if self.cache:
            state["cache"] = str(self.cache)
        if self.fault:
            state["fault"] = str(self.fault)
        if self.aliases:
            state["aliases"] = [each.as_dict() for each in self.aliases]
        else:
            del state["aliases"]
        return state

    @property
    def is_own(self) -> bool:
        """Whether the proxy itself asked."""
        return self.kind in OWN_KINDS

    @property
    def reference(self) -> str:
        """The tag, or the beginning of the digest, that was asked for."""
        if self.digest:
            return self.digest[:DIGEST_LENGTH]
        is_named = self.kind in CONTENT and self.kind is not Kind.TAGS
        return (self.path or "").rpartition("/")[2] if is_named else ""

    @property
    def subject(self) -> str:
        """What was asked for, in words: the path where it is not content."""
        if self.alias is None or self.kind not in CONTENT:
            return self.path or ""
        reference = f"{self.reference} " if self.reference else ""
        return f"{self.kind} {reference}of {self.alias}"

    @property
    def found(self) -> list[AliasRecord]:
        """The aliases that stand for a release."""
        return [each for each in self.aliases if each.release]

    @property
    def tagged(self) -> list[AliasRecord]:
        """The aliases whose tags select."""
        return [each for each in self.aliases if each.tagged is not None]

    @property
    def refused(self) -> list[AliasRecord]:
        """The aliases by which nothing is pulled."""
        return [each for each in self.aliases if each.code is not None]

    @property
    def registry(self) -> str:
        """Host of the registry that is fronted; nothing where nobody set it."""
        return self.upstream.host if self.upstream else ""

    @property
    def issuer(self) -> str:
        """Host of who issues tokens; nothing where nobody has named one yet."""
        return host_of(self.naming.issuer if self.naming else "")

    @property
    def has_own_names(self) -> bool:
        """Whether names are the registry's own, of which no API knows."""
        return self.naming is not None and self.naming.has_own_names

    @property
    def names(self) -> list[str]:
        """The aliases that it is about."""
        return self.alias.split(SEPARATOR) if self.alias else []

    @property
    def release(self) -> str | None:
        """The release, where it is about one."""
        return self.aliases[0].release if len(self.aliases) == 1 else None

    @property
    def location(self) -> str | None:
        """The location, where it is about one."""
        return self.aliases[0].location if len(self.aliases) == 1 else None

    @property
    def is_redirected(self) -> bool:
        """Whether the client was sent elsewhere for a blob."""
        return (
            self.kind is Kind.BLOB
            and self.method == "GET"
            and self.status is not None
            and HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST
            and self.status != HTTPStatus.NOT_MODIFIED
        )

    @property
    def is_optional(self) -> bool:
        """Whether clients ask for it only to see whether it is there."""
        if self.status != HTTPStatus.NOT_FOUND or self.error is not None:
            return False
        if self.kind is Kind.BLOB:
            return self.method == "HEAD"
        # A signature or the like, which most images do not have.
        return self.kind is Kind.REFERRERS or (
            self.kind is Kind.MANIFEST and is_artifact_tag(self.reference)
        )

    def aim_at_push(self, name: str | None) -> None:
        """Take note that the client wants to write to a repository, or to delete."""
        self.kind, self.alias = Kind.PUSH, name and (brief_location(name) or name)

    def aim(self, wanted: endpoint.Endpoint) -> None:
        """Take note of what is asked for."""
        if not isinstance(wanted, endpoint.Content):
            self.kind = _KINDS[type(wanted)]
            return
        self.kind = _KINDS[wanted.kind]
        if wanted.reference and ":" in wanted.reference:
            self.digest = str(wanted.reference)
        self.alias = brief_location(wanted.name) or str(wanted.name)

    def asked_token(self, credential: Credential, names: Sequence[str]) -> None:
        """Take note of who wants a token, and for what."""
        if credential.authorization and self.login is Login.NONE:
            self.login = Login.KEY  # It stood in the form.
        self.is_like_key = credential.is_like_key
        self.alias = SEPARATOR.join(names) or None

    def forwarded(self, forward: Forward, host: str) -> None:
        """Take note that the request goes to the registry, at this host."""
        self.token_length = len(bearer_token(forward.authorization) or "")
        self.host = host
        self.warning = forward.warning
        self.is_forwarded = True
        self.forward_begin = time.monotonic()
        self.has_token = forward.authorization is not None
        if forward.location:
            target = AliasRecord(self.alias or "", forward.tag)
            target.location, target.reason = forward.location, forward.reason
            if forward.release:
                target.use(KnownRelease.of(forward.release))
            self.aliases = [target]

    def recall(self, releases: Mapping[str, KnownRelease]) -> None:
        """Take note of the release, if it is known which one the location holds."""
        if len(self.aliases) == 1 and not self.aliases[0].release:
            target = self.aliases[0]
            if target.location and (release := releases.get(target.location)):
                target.use(release)

    def issued(self, answer: TokenAnswer) -> None:
        """Take note of the token that the client gets."""
        records: dict[str, AliasRecord] = {}
        for resolution in answer.resolutions:
            name = str(resolution.alias)
            target = records[name] = AliasRecord(name, cache=answer.states.get(name))
            target.resolve(resolution)
        for name, count in answer.tagged.items():
            records.setdefault(name, AliasRecord(name)).tagged = count
        for name, refusal in answer.refusals.items():
            records[name] = AliasRecord(printable(name))
            records[name].code = str(refusal.code)
            records[name].message = refusal.message
        self.aliases = list(records.values())
        self.session = session_of(answer.token)
        if len(answer.states) == 1:
            (self.alias,) = answer.states
        if answer.server:
            # It went to who issues tokens as it was, and so did the answer.
            self.host, self.is_forwarded, self.has_token = answer.server, True, True

    def failed(self, error: errors.RegistryError) -> None:
        """Take note that the proxy answers with an error of its own."""
        self.error = error
        if self.is_forwarded and isinstance(error, errors.ServiceUnavailable):
            self.reason = error.reason
            error.blame(self.host)

    @contextmanager
    def asking_api(self) -> Iterator[None]:
        """Take note of how long the API is waited for, whatever comes of it."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.api_seconds = round(time.monotonic() - begin, 4)

    def began(self, response: http.Response) -> None:
        """Take note that the answer of registry or storage begins, as it came."""
        self.head = response.status_code, response.headers.fields
        self.registry_seconds = round(time.monotonic() - self.forward_begin, 4)

    def answered(self, response: http.Response, *, is_head: bool) -> None:
        """Take note of how the answer ended: as a whole."""
        self.status = response.status_code
        self.bytes = 0 if is_head else self._length(response)
        if self.mover:
            self.bytes = None
        self.seconds = round(time.monotonic() - self.begin, 4)
        self.outcome = self._judge(response.status_code)
        challenge = response.headers.get("www-authenticate", "")
        if self.outcome is Outcome.CHALLENGED and challenge[:5].lower() == "basic":
            self.wants_login = True
        if self.is_forwarded and self.outcome is Outcome.FAILED:
            self.reason = self.reason or errors.Reason.STATUS

    def broken(self, failure: str, *, is_client_there: bool) -> None:
        """Take note that there is no answer, or none to its end."""
        self.failure = failure
        self.bytes = self.reader.taken if self.reader else None
        self.seconds = round(time.monotonic() - self.begin, 4)
        is_ours = is_client_there and self.is_forwarded
        self.outcome = Outcome.FAILED if is_ours else Outcome.ABORTED
        if is_ours:
            self.reason = self._why(failure)

    def blame(self, found: Finding) -> None:
        """Take note of what is wrong, and of what to do about it."""
        self.fault, self.finding = found.cause, found.sentence
        self.advice = found.advice

    @property
    def diagnosis(self) -> str | None:
        """What is wrong, and what to do about it, in a line; None where it is open.

        What the client was told is not said again.
        """
        said = [] if self.finding == self.message else [self.finding]
        step = f"next: {self.advice}" if self.advice else None
        return "; ".join(filter(None, [*said, step])) or None

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
        is_nothing = self.aliases and all(each.is_refused for each in self.aliases)
        if status >= HTTPStatus.BAD_REQUEST or is_nothing:
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


def clear(flow: mitmproxy_flow.Flow) -> None:
    """Take the record away from a flow."""
    flow.metadata.pop(KEY, None)


def host_of(url: str) -> str:
    """Return host and port of a URL that anybody may have written, without a login."""
    place = url.partition("://")[2].partition("/")[0].partition("?")[0]
    return printable(place.rpartition("@")[2])


def shown_path(path: str) -> str:
    """Return the path without its query, in characters that print, and not too many."""
    begin = path.partition("?")[0][:PATH_LENGTH_MAX]
    return printable(begin)[:PATH_LENGTH_MAX]


def shown_agent(header: str) -> str:
    """Return the client's name for itself without what it is built of."""
    return printable(header.partition(" ")[0][:AGENT_LENGTH_MAX])[:AGENT_LENGTH_MAX]


def _login(authorization: str) -> Login:
    """Return what the client logs in with; an empty Basic is no login (rule R3)."""
    scheme, _, value = authorization.strip().partition(" ")
    match scheme.lower():
        case "basic" if value.strip() not in ("", EMPTY_BASIC):
            return Login.KEY
        case "bearer" if value.strip():
            return Login.TOKEN
    return Login.NONE


def _aliases(value: object) -> list[AliasRecord]:
    entries = map(AliasRecord.from_dict, value if isinstance(value, list) else ())
    return [entry for entry in entries if entry]


_KINDS: Mapping[object, Kind] = {
    endpoint.Ping: Kind.PING,
    endpoint.Ready: Kind.READY,
    endpoint.TokenEndpoint: Kind.TOKEN,
    endpoint.Base: Kind.BASE,
    endpoint.Catalog: Kind.CATALOG,
    endpoint.ContentKind.MANIFEST: Kind.MANIFEST,
    endpoint.ContentKind.BLOB: Kind.BLOB,
    endpoint.ContentKind.TAGS: Kind.TAGS,
    endpoint.ContentKind.REFERRERS: Kind.REFERRERS,
}
_READERS: Mapping[str, Reader] = {
    "kind": member_of(Kind, OwnKind),
    "alias": read_text,
    "request_id": read_text,
    "outcome": member_of(Outcome),
    "path": read_text,
    "login": member_of(Login),
    "storage": read_text,
    "cache": member_of(observer.CacheState),
    "mover": member_of(Mover),
    "reason": member_of(errors.Reason),
    "digest": read_text,
    "code": read_text,
    "message": read_text,
    "warning": read_text,
    "failure": read_text,
    "fault": member_of(Cause),
    "finding": read_text,
    "advice": read_text,
    "agent": read_text,
    "session": read_text,
    "connection": read_text,
    "forwarded_for": read_text,
    "wants_login": lambda value: value is True or None,
    "bytes": read_size,
    "seconds": read_seconds,
    "api_seconds": read_seconds,
    "registry_seconds": read_seconds,
    "aliases": _aliases,
}
"""What a flow's dictionary may have, in its order, and how each value is read."""
_VALUES = attrgetter(*_READERS)
