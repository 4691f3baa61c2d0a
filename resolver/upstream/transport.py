"""Decides how the resolver speaks HTTP: the only module with network access.

Blocking, meant for worker threads. Every request has a deadline that covers its
retries, the head and the body of the answer, however slowly they come; answers are
read up to a limit, redirects are not followed, and neither cookies nor the environment
(`.netrc`, proxies) add anything to it.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from socket import SHUT_RDWR, socket
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from resolver.upstream.call import Attempt, Tap, ignore
from resolver.upstream.deadline import Deadline
from resolver.upstream.failure import TooLarge, cause, unreachable
from resolver.upstream.stream import AddressOf, pools

BODY_LENGTH_MAX = 4 << 20
"""Bytes; a release with a hundred images takes about 40 kB."""
SEARCH_LENGTH_MAX = 64 << 10
"""Bytes of an answer that is read away: of a redirect, which is small, or an error."""
ATTEMPTS = 3
CONNECT_SECONDS = 3
"""An address that does not answer leaves time for another attempt."""
BACKOFF = 0.2
"""Seconds before the second attempt; each later one waits four times as long."""
RETRIED = frozenset({429, 502, 503, 504})
_CHUNK = 1 << 16
USER_AGENT = "balena-registry-proxy"
_HEADERS = {
    "User-Agent": USER_AGENT,
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A request to make."""

    url: str = field(repr=False)
    authorization: str | None = field(repr=False)
    method: str = "GET"
    is_search: bool = False
    accept: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the request has beside the usual headers."""
        made = {"Accept": "*/*", "Range": "bytes=0-0"} if self.is_search else {}
        if self.accept is not None:
            made["Accept"] = self.accept
        if self.authorization is not None:
            made["Authorization"] = self.authorization
        return made


class Transport:
    """A pool of connections, for many threads and many credentials."""

    def __init__(
        self,
        verification: Verification,
        *,
        connections: int = 32,
        sleep: Callable[[float], None] = time.sleep,
        tap: Tap = ignore,
        address_of: AddressOf | None = None,
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
            adapter = _Adapter(verification, connections, self._sockets, address_of)
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
        return self._persist(_Wanted(url, authorization), deadline)

    def head(
        self, url: str, *, authorization: str, accept: str, deadline: Deadline
    ) -> Answer:
        """Return the answer to a HEAD, after a few tries.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        wanted = _Wanted(url, authorization, "HEAD", accept=accept)
        return self._persist(wanted, deadline)

    def search(
        self, url: str, *, method: str, authorization: str | None, deadline: Deadline
    ) -> Answer:
        """Return the answer to a request for a blob, without its body.

        One that is no redirect has a byte of the blob, so nothing is moved in vain,
        and the connection can be kept.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        return self._persist(
            _Wanted(url, authorization, method, is_search=True), deadline
        )

    def _persist(self, wanted: _Wanted, deadline: Deadline) -> Answer:
        """Return the answer, after a few tries."""
        url = wanted.url
        # Of a blob the client itself is told the status, and may try again.
        retried = frozenset[int]() if wanted.is_search else RETRIED
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            pause = BACKOFF * 4 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
            try:
                answer = self._tapped(wanted, deadline)
            except requests.exceptions.SSLError as error:
                raise unreachable(url, error) from error  # No try mends a certificate.
            except requests.ConnectionError as error:
                if last or self._is_closed or pause >= deadline.remaining:
                    raise unreachable(url, error) from error
            except (requests.RequestException, HTTPError, OSError) as error:
                raise unreachable(url, error) from error
            else:
                pause = max(pause, answer.retry_after or 0)
                if (
                    answer.status not in retried
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

    def _tapped(self, wanted: _Wanted, deadline: Deadline) -> Answer:
        """Return the answer to one attempt, and tell of it."""
        told = Attempt(
            wanted.url,
            wanted.authorization,
            begin := time.time(),
            begin,
            None,
            method=wanted.method,
            is_search=wanted.is_search,
        )
        try:
            answer = self._get(wanted, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            self._tap(replace(told, end=time.time(), failure=cause(error)))
            raise
        headers = tuple(answer.headers.items())
        self._tap(
            replace(
                told,
                end=time.time(),
                status=answer.status,
                headers=headers,
                body=answer.body,
            )
        )
        return answer

    def _get(self, wanted: _Wanted, deadline: Deadline) -> Answer:
        remaining = deadline.remaining
        if not remaining:
            raise requests.Timeout("the time for the request is over")
        with self._session.request(
            wanted.method,
            wanted.url,
            headers=wanted.headers,
            timeout=(min(CONNECT_SECONDS, remaining), remaining),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            # Not `iter_content`, which waits for a whole chunk, past any deadline.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if wanted.is_search and len(body) > SEARCH_LENGTH_MAX:
                    break  # The connection is closed, and the rest never comes.
                if len(body) > BODY_LENGTH_MAX:
                    raise TooLarge("the answer is too large")
                if not deadline.remaining:
                    raise requests.Timeout("the answer came too slowly")
            held = b"" if wanted.is_search else bytes(body)
            return Answer(response.status_code, response.headers, held)


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
        self,
        verification: Verification,
        connections: int,
        sockets: WeakSet[socket],
        address_of: AddressOf | None,
    ) -> None:
        self._verification = verification
        super().__init__(pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = pools(sockets, address_of)

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
