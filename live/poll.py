"""The page of pulls of a running proxy, asked again and again."""

import json
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests

from live.shown import Shown, clean, read_pulls
from live.state import PATH
from resolver.upstream.failure import cause

LENGTH_MAX = 64 << 20
"""Bytes of an answer; the page keeps no more pulls than that."""
TIMEOUT_SECONDS = (5, 20)
PAUSE_SECONDS = 0.5
"""Between two requests; more, where an answer takes long."""
GONE_SECONDS = 2.0
"""Likewise, where nobody answers."""
SHARE = 4
"""So many times as long as an answer took nothing is asked."""
HOW_TO_GET_ONE = (
    "the log of the proxy names the address of the page with its token, where the proxy"
    " was started with PULLS_PORT"
)


class SourceError(Exception):
    """Nothing can be watched; the message is for whoever wants to."""


class SourceGone(SourceError):
    """Nothing can be watched now."""


class Page:
    """Where the page is."""

    def __init__(self, url: str, token: str | None) -> None:
        """Take the address, with a token in it or beside it.

        Raises:
            SourceError: it is none.

        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_url = is_url and parts.port != 0
        except ValueError:
            is_url = False
        if not is_url:
            raise SourceError(f"{clean(url)} is no address of a page; {HOW_TO_GET_ONE}")
        path = parts.path.rstrip("/").removesuffix(PATH)
        given = parse_qs(parts.query).get("token", [""])[0]
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}{PATH}"
        self._token = given or token or ""
        self._headers = {"Authorization": f"Bearer {self._token}"}
        self._session = requests.Session()
        self._session.trust_env = False  # The token is for nobody else.

    def read(self) -> list[Shown]:
        """Return the pulls, the oldest first.

        Raises:
            SourceGone: nobody answers.
            SourceError: the answer is none of a page of pulls, or a refusal.

        """
        try:
            return read_pulls(json.loads(self._fetch()))
        except requests.RequestException as error:
            raise SourceGone(
                f"nothing answers at {clean(self.url)}: {_why(error)}"
            ) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise self._no_page("with something else than pulls") from error

    def _fetch(self) -> bytearray:
        """Return what the page answers."""
        with self._session.get(
            f"{self.url}.json",
            headers=self._headers,
            timeout=TIMEOUT_SECONDS,
            stream=True,
            allow_redirects=False,
        ) as answer:
            self._check(answer.status_code)
            body = bytearray()
            for piece in answer.iter_content(1 << 16):
                body += piece
                if len(body) > LENGTH_MAX:
                    raise self._no_page("with more than 64 MiB")
            return body

    def _check(self, status: int) -> None:
        """See that the answer has pulls in it."""
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if not self._token:
                raise SourceError(
                    f"{clean(self.url)} needs a token, and none was given: name the"
                    " file that has it with --pulls-token, or give --page the address"
                    f" with its token; {HOW_TO_GET_ONE}"
                )
            raise SourceError(
                f"{clean(self.url)} refuses the token: a proxy that was started again"
                f" may have another one; {HOW_TO_GET_ONE}"
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise SourceGone(f"{clean(self.url)} answers with status {status}")
        if status != HTTPStatus.OK:
            raise self._no_page(f"with status {status}")

    def _no_page(self, how: str) -> SourceError:
        words = f"{clean(self.url)} answers {how}, so it is no page of pulls"
        return SourceError(f"{words}; {HOW_TO_GET_ONE}")


def read_token(path: Path) -> str:
    """Return the token in the file that PULLS_TOKEN names.

    Raises:
        SourceError: there is none.

    """
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(1000).strip()
    except OSError as error:
        raise SourceError(f"PULLS_TOKEN: {path}: {error.strerror}") from error


def follow(
    page: Page,
    tell: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[list[Shown]]:
    """Yield the pulls again and again; where the proxy is gone, say so and wait.

    Raises:
        SourceError: it was not there in the first place, or refuses.

    """
    yield page.read()
    is_gone = False
    pause = PAUSE_SECONDS
    while True:
        wait(pause)
        begin = time.monotonic()
        try:
            pulls = page.read()
        except SourceGone as gone:
            if not is_gone:
                tell(f"{gone}; waiting for it")
            is_gone = True
            pause = GONE_SECONDS
            continue
        if is_gone:
            tell("the proxy answers again")
        is_gone = False
        pause = max(PAUSE_SECONDS, SHARE * (time.monotonic() - begin))
        yield pulls


def _why(error: requests.RequestException) -> str:
    """Return the reason in words."""
    is_of_url = isinstance(error, requests.exceptions.InvalidURL)
    return clean(str(error) if is_of_url else cause(error))
