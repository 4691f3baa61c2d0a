"""Gets tokens as clients do, before anything is measured."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
from urllib3.exceptions import InsecureRequestWarning

from bench.comparison.contestant import Contestant
from bench.program import ProgramError
from resolver.grammar.challenge import parse_challenge, pull_scope

TIMEOUT = 30


def find_realm(url: str) -> str:
    """Return where a proxy sends its clients for tokens.

    Raises:
        ProgramError: it does not answer as a registry does.

    """
    answer = _get(f"{url}/v2/", {})
    said = parse_challenge(answer.headers.get("www-authenticate", ""))
    if answer.status_code != HTTPStatus.UNAUTHORIZED or said is None:
        raise ProgramError(f"{url} sends nobody for a token: {answer.status_code}")
    return said.realm


def fetch_token(contestant: Contestant, repository: str) -> str:
    """Return a token to pull from a repository, as the contestant calls it.

    Raises:
        ProgramError: there is none to be had.

    """
    scope = pull_scope(repository)
    answer = _get(contestant.realm, {"scope": scope, "service": "bench"})
    if answer.status_code != HTTPStatus.OK:
        raise ProgramError(f"{contestant.name} gives no token: {answer.status_code}")
    token: str = answer.json()["token"]
    return token


def _get(url: str, parameters: dict[str, str]) -> requests.Response:
    with _session() as session:
        try:
            return session.get(url, params=parameters, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise ProgramError(f"{url} does not answer") from error


@contextmanager
def _session() -> Iterator[requests.Session]:
    """Have a session that takes any certificate: it is one of this machine."""
    with requests.Session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        session.trust_env = False
        session.verify = False
        yield session
