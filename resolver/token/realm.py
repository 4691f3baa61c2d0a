"""The realm: where the tokens of a registry are issued, as its own challenge says.

Where names are the registry's own, a client's request for a token goes on to the realm
as it is, with the client's login, and what comes back is the client's. A login for the
registry goes nowhere else: the realm is on the registry's own host, below the same
registered domain, or on a host that the operator named; a registry with TLS has it with
TLS; and where it redirects, nobody follows.
https://distribution.github.io/distribution/spec/auth/token/#how-to-authenticate
"""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

from cachetools import LRUCache

from resolver.errors import (
    EndpointUnknown,
    NameInvalid,
    RealmRefused,
    Reason,
    ServiceUnavailable,
)
from resolver.grammar.challenge import parse_challenge
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import parse_repository_name, printable
from resolver.grammar.url import USUAL_PORTS, parse_host
from resolver.storage.url import is_ambiguous
from resolver.symptom import Role
from resolver.token.answer import TokenAnswer
from resolver.token.request import TokenRequest
from resolver.token.service import SHARE, THREADS
from resolver.upstream.api import observed
from resolver.upstream.deadline import Deadline
from resolver.upstream.flight import Flights
from resolver.upstream.observer import (
    NOBODY,
    SEPARATOR,
    Contact,
    Endpoint,
    Failure,
    Observer,
    Part,
    purpose,
)
from resolver.upstream.registry import drops_tls, is_foreign
from resolver.upstream.share import Party, address_party
from resolver.upstream.threads import Threads, time_limit
from resolver.upstream.transport import Answer

logger = logging.getLogger(__name__)

NAMES_MAX = 10_000
"""Repositories whose realms are remembered."""
REALMS_MAX = 16
"""Realms of which it is known that the log has named them."""
REALM_LENGTH_MAX = 2048
"""Characters."""
HEADERS = frozenset(
    {
        "content-type",
        "docker-distribution-api-version",
        "ratelimit",
        "ratelimit-limit",
        "ratelimit-policy",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "warning",
    }
)
"""What clients get of the answer's head: what it is, and when to try again."""
_TEXT = re.compile(r"[\x21-\x7e]+")
"""What a URL consists of (RFC 3986)."""


class Granter(Protocol):
    """What asks for tokens: `resolver.upstream.transport.Transport`."""

    def get(
        self, url: str, *, authorization: str | None = None, deadline: Deadline
    ) -> Answer:
        """Return the answer to a GET request."""

    def grant(
        self,
        url: str,
        *,
        authorization: str | None,
        form: bytes | None,
        deadline: Deadline,
    ) -> Answer:
        """Return the answer to a request for a token."""


class Realms:
    """Knows the realms of one registry: those of repositories, and that of `/v2/`.

    Each repository has the one that its own challenge names, so no client leads the
    login of another to a realm of another repository. One that has none of its own has
    that of `/v2/`. Used in the event loop and in threads.
    """

    def __init__(
        self, registry_url: str, named: Collection[str], transport: Granter
    ) -> None:
        """Trust the hosts that are named, beside the registry's own."""
        self._registry_url = registry_url
        self._host = urlsplit(registry_url).netloc
        self._named = named
        self._transport = transport
        self._lock = Lock()
        self._base: str | None = None
        self._own: LRUCache[str, str] = LRUCache(NAMES_MAX)
        """Of the repositories whose realm is another than that of `/v2/`."""
        self._told: LRUCache[str, None] = LRUCache(REALMS_MAX)

    @property
    def base(self) -> str:
        """The realm that `/v2/` named, as it was named; nothing where it has not."""
        with self._lock:
            return self._base or ""

    def heed(self, header: str, name: str | None) -> None:
        """Learn from a challenge for a repository, or for `/v2/` where there is none.

        One for a token that is not good teaches nothing: nvcr.io names a realm there
        that knows no anonymous clients.
        https://github.com/NVIDIA/nvidia-container-toolkit/issues/1945
        """
        challenge = parse_challenge(header)
        if challenge is not None and challenge.error is None:
            self._learn(challenge.realm, name)

    def known(self, name: str | None) -> str | None:
        """Return where the tokens for the repository are issued, if that is known.

        Raises:
            RealmRefused: no login goes to where the registry says.

        """
        with self._lock:
            realm = self._own.get(name, self._base) if name else self._base
        return None if realm is None else self._checked(realm)

    def ask(self, name: str | None, deadline: Deadline) -> None:
        """Ask for the challenge of the repository, or that of `/v2/`. Blocks.

        Raises:
            ServiceUnavailable: the registry does not answer.

        """
        path = f"/v2/{name}/manifests/latest" if name else "/v2/"
        answer = self._transport.get(f"{self._registry_url}{path}", deadline=deadline)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ServiceUnavailable.because(
                Reason.STATUS,
                f"the registry answers with status {answer.status}; try again later",
            )
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return
        challenge = parse_challenge(answer.headers.get("WWW-Authenticate", ""))
        if challenge is not None:  # Whatever it says is wrong, no token was sent.
            self._learn(challenge.realm, name)

    def missing(self) -> EndpointUnknown:
        """Return what is raised where the registry names no realm."""
        return EndpointUnknown(
            f"the registry {self._host} asks for no token here: it takes logins"
            " itself, or needs none"
        )

    def _learn(self, realm: str, name: str | None) -> None:
        realm = realm[: REALM_LENGTH_MAX + 1]  # One that is longer is refused anyway.
        with self._lock:
            before = self._own.get(name) if name else self._base
            if realm == before:
                return
            is_kept = (
                before is not None
                and self._is_acceptable(before)
                and not self._is_acceptable(realm)
            )
            if before is not None and realm not in self._told:
                logger.info(
                    "the registry %s names another realm than before%s",
                    self._host,
                    ", to which no login goes; the one before stays" * is_kept,
                )
            self._told[realm] = None
            if is_kept:
                return
            if name is None:
                self._base = realm
                for each in [each for each, own in self._own.items() if own == realm]:
                    del self._own[each]
            elif realm == self._base:
                self._own.pop(name, None)
            else:
                self._own[name] = realm

    def _is_acceptable(self, realm: str) -> bool:
        with suppress(RealmRefused):
            return bool(self._checked(realm))
        return False

    def _checked(self, realm: str) -> str:
        """Return the realm without a fragment, if logins may go there."""
        if not _is_url(realm):
            raise RealmRefused(
                f"the registry {self._host} names a token endpoint that is no URL with"
                " a host; its operator can set the realm of its challenge right"
            )
        host = urlsplit(realm).hostname
        if drops_tls(realm, self._registry_url):
            raise RealmRefused(
                f"the registry {self._host} names a token endpoint without TLS, at"
                f" {host}, so no login is sent there; its operator can set the realm of"
                " its challenge right"
            )
        if host not in self._named and is_foreign(realm, self._registry_url):
            raise RealmRefused(
                f"the registry {self._host} names a token endpoint at {host}, which is"
                " of another domain than its own, so no login is sent there; if that is"
                f" right, the operator of this proxy sets REALM_HOSTS={host}"
            )
        return realm.partition("#")[0]


class TokenRelay:
    """Passes requests for tokens on; the blocking work runs in threads of its own."""

    def __init__(
        self,
        realms: Realms,
        registry_url: str,
        transport: Granter,
        *,
        timeout: float,
        observer: Observer = NOBODY,
    ) -> None:
        self._realms = realms
        self._registry_url = registry_url
        self._transport = transport
        self._timeout = timeout
        self._observer = observer
        self._threads = Threads(THREADS, "registry-token", share=SHARE)
        self._flights: Flights[None, None] = Flights()

    async def answer(self, request: TokenRequest, address: str = "") -> TokenAnswer:
        """Return what the realm answers to the request of a client with that address.

        Raises:
            EndpointUnknown: the registry asks for no token.
            RealmRefused: no login goes to where it says, or to where that redirects.
            ServiceUnavailable: registry or realm do not answer in time.

        """
        names = tuple(dict.fromkeys(scope.name for scope in request.scopes))
        purpose.set(SEPARATOR.join(map(printable, names)))
        parties = address_party(address)
        if login := request.credential.fingerprint:
            parties = (*parties, ("login", login))
        deadline = Deadline.after(self._timeout)
        late = (
            f"the registry's token endpoint did not answer within {self._timeout:g}"
            " seconds; try again later"
        )
        realm = ""
        try:
            async with time_limit(deadline, late):
                realm = await self._find(_repository(names), deadline, parties)
                return await self._threads.run(
                    self._grant, realm, request, deadline, parties=parties
                )
        except ServiceUnavailable as error:
            error.blame(realm or self._registry_url, Role.TOKEN if realm else None)
            raise

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._threads.close()

    async def _find(
        self, name: str | None, deadline: Deadline, parties: tuple[Party, ...]
    ) -> str:
        """Return where the tokens for the repository are issued.

        A replica that has not seen a challenge asks for one: first without a name, once
        for all who want to know, and where nothing is asked for then, for the name.
        """
        if (realm := self._known(name)) is None:
            await self._flights.join(
                None,
                # For nobody in particular, so it waits for no share of a client's.
                lambda: self._threads.run(
                    self._ask, None, Deadline.after(self._timeout)
                ),
            )
            realm = self._known(name)
        if realm is None and name is not None:
            await self._threads.run(self._ask, name, deadline, parties=parties)
            realm = self._known(name)
        if realm is None:
            raise self._realms.missing()
        return realm

    def _known(self, name: str | None) -> str | None:
        with self._blaming():
            return self._realms.known(name)

    def _ask(self, name: str | None, deadline: Deadline) -> None:
        # Somebody may have learnt it while this waited for a thread.
        if self._known(name) is None:
            with self._blaming():
                self._realms.ask(name, deadline)

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        """Say of an error that it is the registry's."""
        try:
            yield
        except ServiceUnavailable as error:
            error.blame(self._registry_url)
            reason = error.reason or Reason.SENSELESS
            self._observer.note(Failure(Part.REGISTRY, reason))
            raise

    def _grant(
        self, realm: str, request: TokenRequest, deadline: Deadline
    ) -> TokenAnswer:
        parts = urlsplit(realm)
        origin = f"{parts.scheme}://{parts.netloc}"
        parameters = urlencode(request.parameters)
        separator = "&" if parts.query else "?"
        query = f"{separator}{parameters}" if parameters else ""
        is_form = request.is_form
        with observed(self._observer, origin, Endpoint.TOKEN, Role.TOKEN):
            answer = self._transport.grant(
                realm if is_form else f"{realm}{query}",
                authorization=None if is_form else request.credential.authorization,
                form=parameters.encode() if is_form else None,
                deadline=deadline,
            )
            _check(answer, realm)
        self._observer.note(Contact(Part.API))
        return TokenAnswer(
            answer.body,
            (),
            {},
            status=answer.status,
            headers=_headers(answer.headers),
            server=parts.netloc,
        )


def _repository(names: Iterable[str]) -> str | None:
    """Return the first of the names that a repository can have."""
    for name in names:
        with suppress(NameInvalid):
            return parse_repository_name(name)
    return None


def _is_url(realm: str) -> bool:
    """Return whether it is the URL of a host that everybody reads alike."""
    if len(realm) > REALM_LENGTH_MAX or not _TEXT.fullmatch(realm):
        return False
    try:
        parts = urlsplit(realm)
        parse_host(parts.netloc)
    except ValueError:
        return False
    host = parts.hostname or ""
    is_clear = not is_ambiguous(host) and not host.endswith(".")
    return parts.scheme in USUAL_PORTS and is_clear


def _check(answer: Answer, realm: str) -> None:
    """See that an answer can be passed on.

    Raises:
        RealmRefused: it is a redirect, after which a login would go elsewhere.
        ServiceUnavailable: it is to be a token, and is none.

    """
    host = urlsplit(realm).netloc
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        raise RealmRefused(
            f"the token endpoint at {host} redirects{_where(answer, realm)}, and no"
            " login is sent after a redirect; the registry's operator can name the"
            " endpoint itself in the realm of its challenge"
        )
    if answer.status < HTTPStatus.MULTIPLE_CHOICES and not _has_token(answer.body):
        raise ServiceUnavailable.because(
            Reason.SENSELESS,
            f"the token endpoint at {host} gave an answer without a token; try again"
            " later",
        )


def _where(answer: Answer, realm: str) -> str:
    """Return where a redirect leads, as far as that may be shown."""
    with suppress(ValueError):
        location = urljoin(realm, answer.headers.get("Location", ""))
        host = parse_host(urlsplit(location).netloc)
        return f" to {host}"
    return ""


def _has_token(body: bytes) -> bool:
    try:
        payload: Any = parse_payload(body)
    except ValueError:
        return False
    names = ("token", "access_token")
    return isinstance(payload, dict) and any(
        isinstance(payload.get(name), str) for name in names
    )


def _headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what clients get of an answer's head."""
    return [
        (name, value)
        for name, value in headers.items()
        if name.lower() in HEADERS and value.isascii() and value.isprintable()
    ]
