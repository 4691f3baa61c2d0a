"""The registry that is fronted, and the API that its own challenge names.

A registry names its token endpoint in the realm of its challenge, and itself as the
service (https://distribution.github.io/distribution/spec/auth/token/).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from resolver.errors import Reason, ServiceUnavailable
from resolver.grammar.challenge import parse_challenge
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.url import parse_url
from resolver.upstream.api import Api, Getter
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import NOBODY, Failure, Observer, Part
from resolver.upstream.transport import Answer


@dataclass(frozen=True, slots=True)
class Backend:
    """What belongs to the registry, as it says itself."""

    api: Api
    service: str
    """The name that the registry goes by in challenges and tokens."""
    hosts: frozenset[str]
    """The hosts under which the API knows the registry's images."""


class Upstream:
    """The registry that is fronted; asked once, at the first need, about its API."""

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
        self._lock = threading.Lock()
        self.backend: Backend | None = None
        """What the registry said, once it did."""

    def connect(self, deadline: Deadline) -> Backend:
        """Return the API that belongs to the registry.

        Raises:
            ServiceUnavailable: the registry does not answer, or names no API.

        """
        if self.backend:
            return self.backend
        if not self._lock.acquire(timeout=deadline.remaining):
            raise _unavailable(Reason.TIMEOUT, "the registry does not answer")
        try:
            self.backend = self.backend or self._observed(self._ask, deadline)
        finally:
            self._lock.release()
        return self.backend

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
            reason = error.reason or Reason.SENSELESS
            self._observer.note(Failure(Part.REGISTRY, reason))
            raise

    def _probe(self, deadline: Deadline) -> None:
        answer = self._get_base(deadline)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _failing(answer.status)

    def _get_base(self, deadline: Deadline) -> Answer:
        return self._transport.get(f"{self._registry_url}/v2/", deadline=deadline)

    def _ask(self, deadline: Deadline) -> Backend:
        answer = self._get_base(deadline)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED):
            # Remembered, a passing failure would be taken for a registry without name.
            raise _failing(answer.status)
        challenge = None
        if answer.status == HTTPStatus.UNAUTHORIZED:
            challenge = parse_challenge(answer.headers.get("WWW-Authenticate", ""))
        service = (challenge.service if challenge else None) or self.host
        origin = challenge.origin if challenge else None
        api = Api(
            self._api_url or _api_url(self._registry_url, origin),
            self._transport,
            self._observer,
        )
        return Backend(api, service, frozenset({self.host, service}))


def _api_url(registry_url: str, origin: str | None) -> str:
    """Return the API that the registry named, if API keys may be sent there."""
    if origin is None:
        raise _senseless("the registry names no token endpoint")
    if registry_url.startswith("https:") and not origin.startswith("https:"):
        raise _senseless("the registry names a token endpoint without TLS")
    try:
        return parse_url(origin)
    except ValueError as error:
        raise _senseless("the registry names a token endpoint that is none") from error


def _failing(status: int) -> ServiceUnavailable:
    return _unavailable(Reason.STATUS, f"the registry answers with status {status}")


def _senseless(what: str) -> ServiceUnavailable:
    return _unavailable(Reason.SENSELESS, f"{what} (balena_api_url)")


def _unavailable(reason: Reason, message: str) -> ServiceUnavailable:
    return ServiceUnavailable.because(reason, f"{message}; try again later")
