"""A client of one repository that does what the OCI specification says.

It gets a token where a challenge asks for one, and follows redirects; it is none of
the clients that people use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import requests

from resolver.grammar.challenge import parse_challenge
from tests.integration.session import TIMEOUT, plain_session

MANIFEST_TYPES = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_CHALLENGES_MAX = 2
"""One without a token, and one for another."""


class Visitor:
    """The client, with the token that it got last."""

    def __init__(self, url: str, name: str, session: requests.Session) -> None:
        self.url = url
        self.name = name
        self.token = ""
        self._session = session

    def ask(self, method: str, path: str, **headers: str) -> requests.Response:
        """Return the answer to a request below the repository."""
        return self.ask_for(method, f"/v2/{self.name}/{path}", **headers)

    def ask_for(self, method: str, path: str, **headers: str) -> requests.Response:
        """Return the answer to a request, after the challenges that it meets."""
        for _ in range(_CHALLENGES_MAX):
            answer = self._send(method, path, headers)
            if answer.status_code != requests.codes.unauthorized:
                return answer
            self._log_in(answer.headers["WWW-Authenticate"])
        return self._send(method, path, headers)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> requests.Response:
        sent = {"Accept": MANIFEST_TYPES, "Accept-Encoding": "identity"}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.request(
            method, f"{self.url}{path}", headers=sent, timeout=TIMEOUT
        )

    def _log_in(self, header: str) -> None:
        challenge = parse_challenge(header)
        assert challenge
        query = {"service": challenge.service, "scope": challenge.scope}
        answer = self._session.get(challenge.realm, params=query, timeout=TIMEOUT)
        answer.raise_for_status()
        self.token = answer.json()["token"]


@contextmanager
def visiting(url: str, name: str) -> Iterator[Visitor]:
    """Return a client that has no token yet."""
    with plain_session() as session:
        yield Visitor(url, name, session)
