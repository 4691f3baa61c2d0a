"""The HTTP client of the resolver: requests to registry, API and storage.

Blocking, meant for worker threads. Every request has a deadline that covers its
retries, the head and the body of the answer, however slowly they come; answers are
read up to a limit, redirects are not followed, and neither cookies nor `.netrc` add
anything to it: requests are sent by an adapter of the library, without the session
that does so. The proxies that they go by are those of `outgoing`.

Retries are our own, because `urllib3.Retry` knows no deadline: it would sleep as long
as a ``Retry-After`` says, and hold its thread.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import count
from socket import SHUT_RDWR, socket
from weakref import WeakSet

import requests
from urllib3.exceptions import HTTPError

from resolver.errors import ServiceUnavailable
from resolver.symptom import Seen
from resolver.upstream.adapter import Adapter, AddressOf
from resolver.upstream.deadline import Deadline
from resolver.upstream.failure import TooLarge, cause, origin, unreachable
from resolver.upstream.host import CONNECT_SECONDS, Hosts
from resolver.upstream.limit import Limits
from resolver.upstream.observer import NOBODY, Call, Observer, purpose
from resolver.upstream.outgoing import NONE, Proxies
from resolver.upstream.pause import TRIES, Pause, current_try

BODY_LENGTH_MAX = 4 << 20
"""Bytes; a release with a hundred images takes about 40 kB."""
SEEN_LENGTH = 4 << 10
"""Bytes of a body that an error keeps."""
GRANT_LENGTH_MAX = 64 << 10
"""Bytes of the answer of a realm; no header has room for a token of 10 kB."""
SEARCH_LENGTH_MAX = 64 << 10
"""Bytes of an answer that is read away: of a redirect, which is small, or an error."""
BACKOFF = 0.2
"""Seconds before the second try; each later one waits four times as long."""
RETRIED = frozenset({429, 502, 503, 504})
FORM_TYPE = "application/x-www-form-urlencoded"
_CHUNK = 1 << 16
_PIECE = 1 << 18
USER_AGENT = "balena-registry-proxy"
VIAS_MAX = 8
"""Proxies of this kind that a request is known to have passed."""
VIA = f"1.1 {USER_AGENT}-{secrets.token_hex(8)}"
"""By which this process knows its own requests (RFC 9110, 7.6.3)."""


def extended_via(header: str) -> str:
    """Return a request's Via with this process in it; others of its kind stay.

    Where proxies lead to one another, one of them sees its own request come back.
    """
    passed = [each.strip() for each in header.split(",") if USER_AGENT in each]
    return ", ".join([*passed[-VIAS_MAX:], VIA])


@dataclass(frozen=True, slots=True)
class Verification:
    """How servers' certificates are verified: as mitmproxy's own options say."""

    enabled: bool = True
    ca_file: str | None = None
    """PEM file of authorities; with both unset the usual authorities count."""
    ca_folder: str | None = None
    """Folder of authorities, prepared with ``openssl rehash``."""

    @property
    def verify(self) -> bool | str:
        """The same in the words of requests, which takes one of the two paths."""
        return self.enabled and (self.ca_file or self.ca_folder or True)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int | None:
        """The seconds of ``Retry-After``, which may also be a date, or None."""
        headers = self.headers
        return parse_retry_after(headers.get("Retry-After"), headers.get("Date"))

    @property
    def seen(self) -> Seen:
        """What an error tells of it, where it is none that can be used."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.body[:SEEN_LENGTH]
        return Seen(status=self.status, headers=headers, body=body)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to make."""

    url: str = field(repr=False)
    authorization: str | None = field(repr=False)
    method: str = "GET"
    is_search: bool = False
    accept: str = "application/json"
    begin: int | None = None
    """The byte to begin at, where that is not the first one."""
    form: bytes | None = field(default=None, repr=False)
    """What is posted."""
    is_grant: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """All headers but those that the library adds."""
        headers = {"User-Agent": USER_AGENT, "Accept": self.accept}
        if self.is_search:
            headers["Range"] = "bytes=0-0"
        if self.begin is not None:
            headers["Range"] = f"bytes={self.begin}-"
        if self.form is not None:
            headers["Content-Type"] = FORM_TYPE
        if self.is_grant:
            headers["Via"] = VIA
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        return headers


class Opened:
    """An answer whose body has not come yet."""

    def __init__(
        self,
        response: requests.Response,
        blame: Callable[[Exception], ServiceUnavailable],
    ) -> None:
        self._response = response
        self._blame = blame
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def read(self) -> bytes:
        """Return the next piece as it was sent; nothing at the end, or where it is cut.

        Raises:
            ServiceUnavailable: no more can be read, or none came in time.

        """
        try:
            piece: bytes = self._response.raw.read1(_PIECE, decode_content=False)
        except (HTTPError, OSError) as error:
            raise self._blame(error) from error
        return piece


class Transport:
    """The client: one pool of connections, for many threads and many credentials."""

    def __init__(
        self,
        verification: Verification,
        *,
        connections: int = 32,
        sleep: Callable[[float], None] = time.sleep,
        observer: Observer = NOBODY,
        hosts: Hosts | None = None,
        address_of: AddressOf | None = None,
        proxies: Proxies = NONE,
        piece_seconds: float | None = None,
    ) -> None:
        """Make no connection yet.

        Args:
            verification: how servers are verified.
            connections: how many are kept to one server.
            sleep: what waits between two tries.
            observer: who is told of each request.
            hosts: which addresses of names work.
            address_of: which address is connected to; if none, one that works.
            proxies: those that go for others.
            piece_seconds: how long each piece of what is opened may take.

        """
        self._sleep = sleep
        self._observer = observer
        self._sockets: WeakSet[socket] = WeakSet()
        self._is_closed = False
        self._limits = Limits()
        self._verify = verification.verify
        hosts = hosts or Hosts()
        self._adapter = Adapter(
            connections,
            self._sockets,
            verification.ca_folder,
            hosts,
            address_of or hosts.find,
            proxies,
            piece_seconds,
        )
        self._proxies = proxies

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
        return self._persist(_Request(url, authorization), deadline)

    def head(
        self, url: str, *, authorization: str, accept: str, deadline: Deadline
    ) -> Answer:
        """Return the answer to a HEAD, after a few tries.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        request = _Request(url, authorization, "HEAD", accept=accept)
        return self._persist(request, deadline)

    def search(
        self, url: str, *, method: str, authorization: str | None, deadline: Deadline
    ) -> Answer:
        """Return the answer to a request for a blob, without its body.

        One that is no redirect has a byte of the blob, so nothing is moved in vain,
        and the connection can be kept.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        request = _Request(url, authorization, method, is_search=True, accept="*/*")
        return self._persist(request, deadline)

    def grant(
        self,
        url: str,
        *,
        authorization: str | None,
        form: bytes | None,
        deadline: Deadline,
    ) -> Answer:
        """Return the answer to a request for a token, posted where there is a form.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        method = "GET" if form is None else "POST"
        request = _Request(url, authorization, method, form=form, is_grant=True)
        return self._persist(request, deadline)

    @contextmanager
    def open(
        self, url: str, *, authorization: str | None, begin: int, deadline: Deadline
    ) -> Iterator[Opened]:
        """Yield the answer to a GET whose body comes piece by piece.

        Args:
            url: of a blob.
            authorization: the login, if any.
            begin: the byte to begin at.
            deadline: for the head.

        Raises:
            ServiceUnavailable: there was no answer in time.

        """
        request = _Request(url, authorization, accept="*/*", begin=begin or None)
        try:
            response = self._respond(request, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._unreachable(url, error) from error
        with response:
            yield Opened(response, lambda error: self._unreachable(url, error))

    def prepare(self, url: str) -> None:
        """Connect to a server that will be asked soon, unless a connection is kept.

        On a far one that saves two round trips, or one without TLS. Where it comes to
        nothing, the request itself will find out why.
        """
        with suppress(requests.RequestException, HTTPError, OSError):
            self._adapter.prepare(url, verify=self._verify, seconds=CONNECT_SECONDS)

    def _persist(self, request: _Request, deadline: Deadline) -> Answer:
        """Return the answer, after a few tries.

        Raises:
            Pause: there may be another one, by whoever calls this in `Threads`.

        """
        if number := current_try.get():
            return self._try(request, number, deadline)
        for number in count(1):
            try:
                return self._try(request, number, deadline)
            except Pause as pause:
                seconds = pause.seconds
            self._sleep(seconds)
        raise AssertionError("the last try returns or raises")

    def _try(self, request: _Request, number: int, deadline: Deadline) -> Answer:
        """Return the answer to one try.

        Raises:
            Pause: it came to nothing, and there is time for another one.

        """
        url, is_last = request.url, number >= TRIES
        # Of a blob the client itself is told the status, and may try again.
        retried = frozenset[int]() if request.is_search else RETRIED
        pause = BACKOFF * 4 ** (number - 1) * random.uniform(0.5, 1)  # noqa: S311
        try:
            answer = self._limited(request) or self._call(request, deadline)
        except requests.exceptions.SSLError as error:
            raise self._unreachable(url, error) from error  # No try mends that.
        except requests.ConnectionError as error:
            if is_last or self._is_closed or pause >= deadline.remaining:
                raise self._unreachable(url, error) from error
            raise Pause(pause) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise self._unreachable(url, error) from error
        pause = max(pause, answer.retry_after or 0)
        if answer.status not in retried or is_last or pause >= deadline.remaining / 2:
            return answer
        raise Pause(pause)

    def _unreachable(self, url: str, error: Exception) -> ServiceUnavailable:
        return unreachable(url, error, self._proxies.find_for(url))

    def _limited(self, request: _Request) -> Answer | None:
        """Return the server's answer where the login is known to be limited."""
        seconds = self._limits.seconds(origin(request.url), request.authorization)
        if seconds is None or request.is_search:
            return None
        return Answer(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(seconds)}, b"")

    def close(self) -> None:
        """Close the connections; whoever waits for an answer gets none.

        Python waits for its threads before it ends, and they for the API.
        """
        self._is_closed = True
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
        self._adapter.close()

    def _call(self, request: _Request, deadline: Deadline) -> Answer:
        """Return the answer to one try, and let the observer know of it."""
        begin, start = time.time(), time.monotonic()
        call = Call(
            request.url,
            request.authorization,
            begin,
            begin,
            None,
            method=request.method,
            is_search=request.is_search,
            is_grant=request.is_grant,
            purpose=purpose.get(),
        )
        try:
            answer = self._send(request, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            end = begin + time.monotonic() - start
            self._observer.note(replace(call, end=end, failure=cause(error)))
            raise
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS and not request.is_search:
            server = origin(request.url)
            self._limits.note(server, request.authorization, answer.retry_after)
        self._observer.note(
            replace(
                call,
                end=begin + time.monotonic() - start,
                status=answer.status,
                headers=tuple(answer.headers.items()),
                body=answer.body,
            )
        )
        return answer

    def _respond(self, request: _Request, deadline: Deadline) -> requests.Response:
        """Return the answer to one try, of which the head is there."""
        remaining = deadline.remaining
        if not remaining:
            raise requests.Timeout("the time for the request is over")
        # By a proxy nobody knows when the server itself has accepted the connection.
        is_proxied = self._proxies.find_for(request.url) is not None
        connecting = remaining if is_proxied else min(CONNECT_SECONDS, remaining)
        message = requests.Request(
            request.method, request.url, request.headers, data=request.form
        )
        return self._adapter.send(
            message.prepare(),
            timeout=(connecting, remaining),
            verify=self._verify,
            stream=True,
        )

    def _send(self, request: _Request, deadline: Deadline) -> Answer:
        with self._respond(request, deadline) as response:
            body = bytearray()
            length_max = GRANT_LENGTH_MAX if request.is_grant else BODY_LENGTH_MAX
            # Not `iter_content`, which waits for a whole chunk, past any deadline.
            while chunk := response.raw.read1(
                _CHUNK, decode_content=not request.is_search
            ):
                body += chunk
                if request.is_search and len(body) > SEARCH_LENGTH_MAX:
                    break  # The connection is closed, and the rest never comes.
                if len(body) > length_max:
                    raise TooLarge("the answer is too large")
            return Answer(
                response.status_code,
                response.headers,
                b"" if request.is_search else bytes(body),
            )


def parse_retry_after(value: str | None, date: str | None = None) -> int | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3).

    Args:
        value: the header.
        date: the ``Date`` of the answer, which is by the same clock as a moment in it.

    """
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            return min(int(value), 86400)
        now = parsedate_to_datetime(date).timestamp() if date else time.time()
        seconds = int(parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
    return max(0, min(seconds, 86400))
