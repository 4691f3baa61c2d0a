"""The balena API: its answers about releases, and its tokens.

Releases come from the OData side, `GET /v7/<resource>`, with the key as Bearer;
tokens from `GET /auth/v1/token`, with the client's own ``Authorization``.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlencode

from resolver.errors import (
    RETRY_AFTER_DEFAULT,
    CredentialRejected,
    RateLimited,
    Reason,
    ServiceUnavailable,
)
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.credential import Credential
from resolver.grammar.payload import parse_payload
from resolver.grammar.scope import Scope
from resolver.symptom import Role
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import (
    NOBODY,
    ApiRequest,
    Contact,
    Endpoint,
    Failure,
    Observer,
    Part,
)
from resolver.upstream.transport import Answer

_TOKEN = re.compile(r"[A-Za-z0-9._+/=-]+")
"""RFC 6750 section 2.1, without the `~` that begins our suffix."""
TOKEN_LENGTH_MAX = 32 << 10
"""Characters; one for thirty locations takes 4 kB, and servers take headers of 8."""
VERSION, OLDER_VERSION = "v7", "v6"
"""Of the OData side; older installations have the second one only."""
OLDER_SECONDS = 60
"""How long the older one is asked at once, before it is seen whether there is v7."""


class Getter(Protocol):
    """What the API is reached through: `resolver.upstream.transport.Transport`."""

    def get(
        self, url: str, *, authorization: str | None = None, deadline: Deadline
    ) -> Answer:
        """Return the answer to a GET request."""


class Api:
    """The balena API at one origin."""

    def __init__(
        self,
        url: str,
        transport: Getter,
        observer: Observer = NOBODY,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._transport = transport
        self._observer = observer
        self._clock = clock
        self._older_until = float("-inf")

    def query(self, query: str, credential: Credential, deadline: Deadline) -> Any:
        """Return the JSON payload that answers a query of `resolver.release.query`.

        Raises:
            RateLimited: the API limits the rate.
            ServiceUnavailable: it fails, or does not answer in time.

        """
        authorization = None if credential.key is None else f"Bearer {credential.key}"

        def ask(version: str) -> Answer:
            url = f"{self.url}/{version}/{query}"
            return self._get(url, authorization, deadline)

        with observed(self._observer, self.url, Endpoint.RELEASE):
            if self._clock() < self._older_until:
                # Whatever is wrong with it: the other one may be there by now.
                with suppress(ServiceUnavailable):
                    return _json(ask(OLDER_VERSION))
            answer = ask(VERSION)
            if answer.status != HTTPStatus.NOT_FOUND:
                self._older_until = float("-inf")
                return _json(answer)
            payload = _json(ask(OLDER_VERSION))
            # A 404 alone may be anybody's on the way.
            self._older_until = self._clock() + OLDER_SECONDS
            return payload

    def token(
        self,
        scopes: Iterable[Scope],
        service: str | None,
        credential: Credential,
        deadline: Deadline,
    ) -> str:
        """Return the JWT that the API issues for the scopes.

        Raises:
            CredentialRejected: the key is wrong or expired.
            RateLimited: the API limits the rate.
            ServiceUnavailable: it fails, or does not answer in time.

        """
        parameters = [("scope", str(scope)) for scope in scopes]
        if service is not None:
            parameters.insert(0, ("service", service))
        url = f"{self.url}{TOKEN_PATH}?{urlencode(parameters)}"
        with observed(self._observer, self.url, Endpoint.TOKEN):
            answer = self._get(url, credential.authorization, deadline)
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise CredentialRejected(
                    "the balena API does not accept these credentials: log in with any"
                    " user name and, as password, a balena API key that is still valid"
                )
            token = _token(answer)
        self._observer.note(Contact(Part.API))
        return token

    def _get(self, url: str, authorization: str | None, deadline: Deadline) -> Answer:
        answer = self._transport.get(
            url, authorization=authorization, deadline=deadline
        )
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            limited = RateLimited.with_retry_after(
                "the balena API limits the rate of requests; try again later",
                RETRY_AFTER_DEFAULT
                if answer.retry_after is None
                else answer.retry_after,
            )
            limited.seen = answer.seen
            raise limited
        return answer


@contextmanager
def observed(
    observer: Observer, url: str, endpoint: Endpoint, role: Role = Role.API
) -> Iterator[None]:
    """Tell an observer how long whoever issues tokens took, and what failed."""
    begin = time.monotonic()
    try:
        yield
    except RateLimited as error:
        error.blame(url, role)
        observer.note(Failure(Part.API, Reason.LIMITED))
        raise
    except ServiceUnavailable as error:
        error.blame(url, role)
        observer.note(Failure(Part.API, error.reason or Reason.SENSELESS))
        raise
    finally:
        observer.note(ApiRequest(endpoint, time.monotonic() - begin))


def _json(answer: Answer) -> Any:
    if answer.status != HTTPStatus.OK:
        raise _unavailable(
            Reason.STATUS,
            f"the balena API gave an answer with status {answer.status}",
            answer,
        )
    try:
        return parse_payload(answer.body)
    except ValueError as error:
        raise _senseless(answer) from error


def _token(answer: Answer) -> str:
    payload = _json(answer)
    token = payload.get("token") if isinstance(payload, dict) else None
    if (
        not isinstance(token, str)
        or len(token) > TOKEN_LENGTH_MAX
        or not _TOKEN.fullmatch(token)
    ):
        raise _senseless(answer)
    return token


def _senseless(answer: Answer) -> ServiceUnavailable:
    return _unavailable(
        Reason.SENSELESS, "the balena API gave an answer with no sense", answer
    )


def _unavailable(reason: Reason, message: str, answer: Answer) -> ServiceUnavailable:
    error = ServiceUnavailable.because(reason, f"{message}; try again later")
    error.seen = answer.seen
    return error
