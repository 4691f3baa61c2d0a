"""An HTTP client that logs in like a container client, for what those do not show."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

TIMEOUT = 30


@contextmanager
def plain_session(authority: Path | None = None) -> Iterator[requests.Session]:
    """Return a session that takes nothing from the environment."""
    with requests.Session() as session:
        session.trust_env = False
        if authority is not None:
            session.verify = str(authority)
        yield session


def get_token(url: str, *names: str, key: str | None = None) -> str:
    """Return the token that the proxy issues for pulling from the repositories."""
    with plain_session() as session:
        answer = session.get(
            f"{url}/auth/v1/token",
            params={"scope": [f"repository:{name}:pull" for name in names]},
            auth=None if key is None else ("u", key),
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        token: str = answer.json()["token"]
        return token


@contextmanager
def logged_in(
    url: str, *names: str, key: str | None = None
) -> Iterator[requests.Session]:
    """Return a session with a token for pulling from the repositories."""
    with plain_session() as session:
        session.headers["Authorization"] = f"Bearer {get_token(url, *names, key=key)}"
        yield session
