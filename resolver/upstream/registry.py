"""The registry that is fronted, and the API that its own challenge names.

A registry names its token endpoint in the realm of its challenge, and itself as the
service (https://distribution.github.io/distribution/spec/auth/token/).
"""

import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from publicsuffix2 import get_sld  # type: ignore[import-untyped]

from resolver.errors import Reason, ServiceUnavailable
from resolver.grammar.challenge import Challenge, parse_challenge
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.reference import shorten
from resolver.grammar.url import parse_url
from resolver.symptom import Role
from resolver.upstream.api import Api, Getter
from resolver.upstream.deadline import Deadline
from resolver.upstream.flight import Flights
from resolver.upstream.observer import NOBODY, Failure, Observer, Part
from resolver.upstream.threads import Threads
from resolver.upstream.transport import Answer

logger = logging.getLogger(__name__)

LOOPBACK = "localhost"
HOSTERS = frozenset({"azurecr.io", "jfrog.io", "ocir.io", "pkg.dev"})
"""Domains below which each host is another customer's or region's registry, and which
the public suffix list does not have."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What belongs to the registry, as it says itself."""

    api: Api
    service: str
    """The name that the registry goes by in challenges and tokens."""
    hosts: frozenset[str]
    """The hosts under which the API knows the registry's images."""
    origin: str | None
    """Where the registry says that tokens are issued."""


class Upstream:
    """The registry that is fronted, and what it said of itself.

    It is asked at the first need, and again after a challenge that says otherwise.
    """

    def __init__(
        self,
        registry_url: str,
        api_url: str | None,
        transport: Getter,
        observer: Observer = NOBODY,
    ) -> None:
        self._registry_url = registry_url
        self.host = urlsplit(registry_url).netloc
        """The registry's host, with its port unless that is the usual one."""
        self._api_url = api_url
        self._transport = transport
        self._observer = observer
        self._flights: Flights[None, Backend] = Flights()
        self.backend: Backend | None = None
        """What the registry said, once it did."""

    def connect(self, deadline: Deadline) -> Backend:
        """Return the API that belongs to the registry. Blocks.

        Raises:
            ServiceUnavailable: the registry does not answer, or names no API.

        """
        self.backend = self.backend or self._observed(self._ask, deadline)
        return self.backend

    def url_of(self, part: Part) -> str:
        """Return where the part is, or nothing where nobody has named the API yet."""
        if part is Part.REGISTRY:
            return self._registry_url
        return self._api_url or (self.backend.api.url if self.backend else "")

    @property
    def asked(self) -> tuple[str, Role]:
        """Who is waited for where the API is asked, which the registry names first."""
        if self.backend:
            return self.backend.api.url, Role.API
        return self._registry_url, Role.REGISTRY

    async def connected(self, threads: Threads, deadline: Deadline) -> Backend:
        """Return the same; all who ask at the same time wait for one answer.

        Raises:
            ServiceUnavailable: as in `connect`.

        """
        if self.backend:
            return self.backend
        return await self._flights.join(
            None, lambda: threads.run(self.connect, deadline)
        )

    def heed(self, header: str, _name: str | None = None, /) -> None:
        """Compare a challenge of the registry with what it said of itself before.

        Where it says something else now, it is asked anew at the next need.
        """
        challenge, backend = parse_challenge(header), self.backend
        if challenge is None or backend is None:
            return
        service = challenge.service or self.host
        if (service, challenge.origin) != (backend.service, backend.origin):
            logger.warning(
                "the registry %s goes by another name, or names another token endpoint,"
                " than before: it is asked anew",
                self.host,
            )
            self.backend = None

    def probe_registry(self, deadline: Deadline) -> None:
        """Ask the registry whether it is there.

        Raises:
            ServiceUnavailable: it does not answer, or fails.

        """
        self._observed(self._probe, deadline)

    def probe_api(self, deadline: Deadline) -> None:
        """Ask the API for a token that is good for nothing.

        Raises:
            RateLimited: it is there, and limits the rate.
            ServiceUnavailable: it does not answer, or fails.

        """
        backend = self.connect(deadline)
        backend.api.token((), backend.service, ANONYMOUS, deadline)

    def _observed[R](self, call: Callable[[Deadline], R], deadline: Deadline) -> R:
        """Return what the call returns, and let the observer know where it fails."""
        try:
            return call(deadline)
        except ServiceUnavailable as error:
            error.blame(self._registry_url, Role.REGISTRY)
            reason = error.reason or Reason.SENSELESS
            self._observer.note(Failure(Part.REGISTRY, reason))
            raise

    def _probe(self, deadline: Deadline) -> None:
        answer = self._get_base(deadline)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _failing(answer)

    def _get_base(self, deadline: Deadline) -> Answer:
        return self._transport.get(f"{self._registry_url}/v2/", deadline=deadline)

    def _ask(self, deadline: Deadline) -> Backend:
        answer = self._get_base(deadline)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED):
            # Remembered, a passing failure would be taken for a registry without name.
            raise _failing(answer)
        challenge = _challenge(answer)
        service = (challenge.service if challenge else None) or self.host
        origin = challenge.origin if challenge else None
        api = Api(
            self._api_url or _api_url(self._registry_url, origin),
            self._transport,
            self._observer,
        )
        return Backend(api, service, frozenset({self.host, service}), origin)


def _challenge(answer: Answer) -> Challenge | None:
    """Return how the registry asks for a token; None where it asks for none.

    What something on the way asks for is not the registry's, and is over at some time.
    """
    if answer.status != HTTPStatus.UNAUTHORIZED:
        return None
    header = answer.headers.get("WWW-Authenticate", "")
    if challenge := parse_challenge(header):
        return challenge
    sent = f"with a challenge of {shorten(header.partition(' ')[0])}"
    error = _unavailable(
        Reason.SENSELESS,
        f"the registry answers with status 401 {sent if header else 'alone'}, and not"
        " with where to get a Bearer token",
    )
    error.seen = answer.seen
    raise error


def _api_url(registry_url: str, origin: str | None) -> str:
    """Return the API that the registry named, if API keys may be sent there."""
    if origin is None:
        raise _senseless("the registry names no token endpoint")
    try:
        url = parse_url(origin)
    except ValueError as error:
        raise _senseless("the registry names a token endpoint that is none") from error
    if drops_tls(url, registry_url):
        raise _senseless("the registry names a token endpoint without TLS")
    if is_foreign(url, registry_url):
        raise _senseless(
            f"the registry names a token endpoint at {urlsplit(url).hostname}, which is"
            " of another domain than its own, so no API key is sent there"
        )
    return url


def drops_tls(url: str, registry_url: str) -> bool:
    """Return whether a login for the registry would leave TLS there."""
    return registry_url.startswith("https:") and not url.startswith("https:")


def is_foreign(url: str, registry_url: str) -> bool:
    """Return whether a login for the registry would go to somebody else there."""
    host, own = urlsplit(url).hostname or "", urlsplit(registry_url).hostname or ""
    return not is_of_one_owner(host, own)


def is_of_one_owner(host: str, other: str) -> bool:
    """Return whether both are the same host, or below the same registered domain."""
    domain = _domain(host)
    return host == other or (domain is not None and domain == _domain(other))


def _domain(host: str) -> str | None:
    """Return the registered domain of a host, or that it is this machine.

    Below a suffix that the public list does not have, the domain is all but the first
    label, and has two at least. An address has none.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        parent = host.partition(".")[2]
        domain: str | None = get_sld(host, strict=True)
        domain = domain or (parent if "." in parent else None)
        if domain in HOSTERS:
            return ".".join(host.split(".")[-3:])
        return LOOPBACK if host == LOOPBACK else domain
    return LOOPBACK if address.is_loopback else None


def _failing(answer: Answer) -> ServiceUnavailable:
    message = f"the registry answers with status {answer.status}"
    error = _unavailable(Reason.STATUS, message)
    error.seen = answer.seen
    return error


def _senseless(what: str) -> ServiceUnavailable:
    return _unavailable(
        Reason.SENSELESS, f"{what}; its operator can name the API (API_URL)"
    )


def _unavailable(reason: Reason, message: str) -> ServiceUnavailable:
    return ServiceUnavailable.because(reason, f"{message}; try again later")
