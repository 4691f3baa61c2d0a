"""Decides how the resolver speaks HTTP: the only module with network access.

Blocking, meant for worker threads. Every request has a deadline that covers its
retries, the head and the body of the answer, however slowly they come; answers are
read up to a limit, redirects are not followed, and neither cookies nor the environment
(`.netrc`, proxies) add anything to it.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from resolver.attempt import Attempt, Tap, ignore
from resolver.deadline import Deadline
from resolver.errors import ServiceUnavailable
from resolver.observer import Reason
from resolver.stream import pools

logger = logging.getLogger(__name__)

BODY_LENGTH_MAX = 4 << 20
"""Bytes; a release with a hundred images takes about 40 kB."""
ATTEMPTS = 3
CONNECT_SECONDS = 3
"""An address that does not answer leaves time for another attempt."""
BACKOFF = 0.2
"""Seconds before the second attempt; each later one waits four times as long."""
RETRIED = frozenset({429, 502, 503, 504})
_CHUNK = 1 << 16
_HEADERS = {
    "User-Agent": "balena-registry-proxy",
    "Accept": "application/json",
}


@dataclass(frozen=True, slots=True)
class Verification:
    """How servers' certificates are verified: as mitmproxy's own options say."""

    enabled: bool = True
    ca_file: str | None = None
    """PEM file of authorities; with both unset the usual authorities count."""
    ca_folder: str | None = None
    """Folder of authorities, prepared with ``openssl rehash``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int | None:
        """The seconds of ``Retry-After``, which may also be a date, or None."""
        return parse_retry_after(self.headers.get("Retry-After"))


class Transport:
    """A pool of connections, for many threads and many credentials."""

    def __init__(
        self,
        verification: Verification,
        *,
        connections: int = 32,
        sleep: Callable[[float], None] = time.sleep,
        tap: Tap = ignore,
    ) -> None:
        self._sleep = sleep
        self._tap = tap
        self._sockets: WeakSet[socket] = WeakSet()
        self._is_closed = False
        self._session = _Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.clear()
        self._session.headers.update(_HEADERS)
        self._session.verify = verification.enabled
        for scheme in ("http://", "https://"):
            adapter = _Adapter(verification, connections, self._sockets)
            self._session.mount(scheme, adapter)

    def get(
        self,
        url: str,
        *,
        authorization: str | None = None,
        deadline: Deadline,
    ) -> Answer:
        """Return the answer to a GET, after a few tries.

        Raises:
            ServiceUnavailable: there was no answer in time, or one too large.

        """
        headers = {} if authorization is None else {"Authorization": authorization}
        return self._try("GET", url, headers, deadline)

    def head(
        self, url: str, *, authorization: str, accept: str, deadline: Deadline
    ) -> Answer:
        """Return the answer to a HEAD, after a few tries.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        headers = {"Authorization": authorization, "Accept": accept}
        return self._try("HEAD", url, headers, deadline)

    def _try(
        self, method: str, url: str, headers: dict[str, str], deadline: Deadline
    ) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            pause = BACKOFF * 4 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
            try:
                answer = self._tapped(method, url, headers, deadline)
            except requests.exceptions.SSLError as error:
                raise _unreachable(url, error) from error  # No try mends a certificate.
            except requests.ConnectionError as error:
                if last or self._is_closed or pause >= deadline.remaining:
                    raise _unreachable(url, error) from error
            except (requests.RequestException, HTTPError, OSError) as error:
                raise _unreachable(url, error) from error
            else:
                pause = max(pause, answer.retry_after or 0)
                if (
                    answer.status not in RETRIED
                    or last
                    or pause >= deadline.remaining / 2
                ):
                    return answer
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close the connections; whoever waits for an answer gets none.

        Python waits for its threads before it ends, and they for the API.
        """
        self._is_closed = True
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
        self._session.close()

    def _tapped(
        self, method: str, url: str, headers: dict[str, str], deadline: Deadline
    ) -> Answer:
        """Return the answer to one attempt, and tell of it."""
        begin, login = time.time(), headers.get("Authorization")
        made = partial(Attempt, url, login, begin, method=method)
        try:
            answer = self._send(method, url, headers, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            failure = _cause(error)
            self._tap(made(time.time(), None, failure=failure))
            raise
        fields = tuple(answer.headers.items())
        self._tap(made(time.time(), answer.status, fields, answer.body))
        return answer

    def _send(
        self, method: str, url: str, headers: dict[str, str], deadline: Deadline
    ) -> Answer:
        remaining = deadline.remaining
        if not remaining:
            raise requests.Timeout("the time for the request is over")
        with self._session.request(
            method,
            url,
            headers=headers,
            timeout=(min(CONNECT_SECONDS, remaining), remaining),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            # Not `iter_content`, which waits for a whole chunk, past any deadline.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > BODY_LENGTH_MAX:
                    raise TooLarge("the answer is too large")
                if not deadline.remaining:
                    raise requests.Timeout("the answer came too slowly")
            return Answer(response.status_code, response.headers, bytes(body))


class TooLarge(requests.RequestException):
    """An answer is longer than any that makes sense."""


class _Session(requests.Session):
    """Leaves redirects alone; the library reads one's whole body, whatever its size."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return that there is none."""
        return None


class _Adapter(HTTPAdapter):
    """Keeps the time, and takes a file and a folder of authorities together.

    Both authorities count, as they do for mitmproxy.
    """

    def __init__(
        self, verification: Verification, connections: int, sockets: WeakSet[socket]
    ) -> None:
        self._verification = verification
        super().__init__(pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = pools(sockets)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Set the authorities on a pool of connections."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        own = self._verification
        if verify and (own.ca_file or own.ca_folder):
            conn.ca_certs, conn.ca_cert_dir = own.ca_file, own.ca_folder


def parse_retry_after(value: str | None) -> int | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            return min(int(value), 86400)
        seconds = int(parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
    return max(0, min(seconds, 86400))


def origin(url: str) -> str:
    """Return scheme and host of the URL: as much of it as a log may show."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _unreachable(url: str, error: Exception) -> ServiceUnavailable:
    """Log why there is no answer, and return what the client is told."""
    logger.warning("%s does not answer: %s", origin(url), _cause(error))
    return ServiceUnavailable.because(
        _reason(error, _bottom(error)),
        "the registry or its API does not answer at the moment; try again later",
    )


def _bottom(error: BaseException) -> BaseException:
    """Return the exception that began it."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _cause(error: Exception) -> str:
    """Return why there is no answer, in words.

    Messages of the libraries contain the whole URL, and with it the location; the
    exception at the bottom has the reason alone.
    """
    bottom = _bottom(error)
    return f"{type(bottom).__name__}: {bottom}" if bottom is not error else repr(error)


def _reason(error: Exception, bottom: BaseException) -> Reason:
    if isinstance(error, requests.exceptions.SSLError):
        return Reason.TLS
    if isinstance(error, requests.Timeout) or isinstance(bottom, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, TooLarge):
        return Reason.SENSELESS
    return Reason.CONNECTION
