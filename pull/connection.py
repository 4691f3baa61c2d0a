"""HTTP as container clients speak it: to registry, token server and storage.

Redirects are followed as docker does it, and a login goes to no other host than the
first. The proxies of the environment are used (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), as
the registry proxy itself reads them. Certificates are trusted that the system trusts,
and those that docker or podman keep for the host.
"""

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InsecureRequestWarning
from urllib3.util.ssl_ import create_urllib3_context

from cause.finding import Cause, Role
from mitm.version import VERSION
from pull import diagnosis
from pull.fault import Fault
from pull.place import TIMEOUT, Place
from resolver.upstream.clock import read_ahead
from resolver.upstream.outgoing import Proxies

BODY_MAX = 4 << 20
"""Bytes of a manifest or a token's answer; as much as registries take."""
REDIRECTS_MAX = 5
_CHUNK = 1 << 18
_FOLDERS = ("/etc/docker/certs.d", "/etc/containers/certs.d")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Broken(Exception):
    """An answer broke off, or no more of it comes."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates count."""

    file: Path | None = None
    """PEM file of more authorities."""
    is_insecure: bool = False
    """Whether any certificate will do."""

    def context(self, host: str) -> ssl.SSLContext:
        """Return how the host is verified.

        Raises:
            Fault: the file has no certificates.

        """
        if self.is_insecure:
            return create_urllib3_context(cert_reqs=ssl.CERT_NONE)
        context = ssl.create_default_context()
        more = os.environ.get("REQUESTS_CA_BUNDLE")
        for path in filter(None, (self.file, Path(more) if more else None)):
            try:
                context.load_verify_locations(path)
            except OSError as error:  # An SSLError is one as well.
                raise Fault(
                    Cause.TLS,
                    f"{path} has no certificates of an authority: {error.strerror}",
                    "name a PEM file, which begins with -----BEGIN CERTIFICATE-----",
                ) from error
        own = Path("~/.config/containers/certs.d").expanduser()
        for folder in (*_FOLDERS, own):
            with suppress(OSError):
                for path in (Path(folder) / host).glob("*.crt"):
                    context.load_verify_locations(path)
        return context


class Answer:
    """An answer whose head is there, and who gave it."""

    def __init__(self, place: Place, response: requests.Response) -> None:
        self.place = place
        self.status = response.status_code
        self.headers = response.headers
        self._response = response

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            Broken: it breaks off; the message says how.

        """
        try:
            while chunk := self._response.raw.read1(_CHUNK, decode_content=False):
                yield chunk
        except (HTTPError, OSError) as error:
            raise Broken(diagnosis.breaking(error)) from error

    def read(self) -> bytes:
        """Return the whole body of what is short, and end the answer.

        Raises:
            Fault: it is not short, or does not come whole in time.

        """
        body, end = b"", time.monotonic() + TIMEOUT
        try:
            for chunk in self.chunks():
                body += chunk
                if len(body) > BODY_MAX or time.monotonic() > end:
                    how = f"is too long or too slow, at {len(body)} bytes"
                    raise diagnosis.broken(self.place, how)
        except Broken as error:
            raise diagnosis.broken(self.place, str(error)) from error
        finally:
            self.close()
        return body

    @property
    def clock(self) -> float | None:
        """How many seconds the server's clock is ahead of this machine's."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return read_ahead(headers, time.time())

    def close(self) -> None:
        """End it, with its connection where that is not at its end."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Connection:
    """Connections to all that take part in a pull, as long as the context lasts."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        # Whatever is left half read is closed with the rest.
        self._answers = ExitStack()
        self._session = requests.Session()
        # No .netrc; proxies and authorities of the environment are named below.
        self._session.trust_env = False
        self._session.verify = not trust.is_insecure
        self._session.headers.update(
            {
                "User-Agent": f"registry-proxy/{VERSION}",
                "Accept-Encoding": "identity",
            }
        )
        if trust.is_insecure:
            urllib3.disable_warnings(InsecureRequestWarning)
        try:
            self._proxies = Proxies.of(os.environ)
        except ValueError as error:
            advice = "set it right, or leave it out"
            raise Fault(Cause.NETWORK, str(error), advice) from error
        self._session.mount("http://", _Adapter(self._proxies))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._answers.close()
        self._session.close()

    def ask(
        self,
        role: Role,
        url: str,
        *,
        authorization: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer, of the host at the end of all redirects.

        Raises:
            Fault: there is none.

        """
        sent = dict(headers or {})
        if query:
            url += f"{'&' if '?' in url else '?'}{urlencode(query)}"
        if authorization:
            sent["Authorization"] = authorization
        for _ in range(REDIRECTS_MAX + 1):
            answer = self._send(role, url, sent, form)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            try:
                before, url = url, urljoin(url, target)
                is_elsewhere = _origin(before) != _origin(url)
            except ValueError as error:
                raise diagnosis.broken(
                    answer.place, "redirects to what is no URL"
                ) from error
            if form is not None and is_elsewhere:
                return answer  # The form has the login in it.
            answer.close()
            if is_elsewhere:
                sent.pop("Authorization", None)
                role = Role.STORAGE if role is Role.REGISTRY else role
        raise Fault(
            Cause.STORAGE if role is Role.STORAGE else Cause.REGISTRY,
            f"{answer.place} redirects more than {REDIRECTS_MAX} times",
            "look at where its redirects lead: perhaps they form a circle",
        )

    def _send(
        self,
        role: Role,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
    ) -> Answer:
        place = Place(role, url)
        self._check(place)
        proxy = self._proxies.find_for(url)
        through = proxy.url_at(proxy.host) if proxy else None
        place = Place(role, url, through)
        try:
            method = "GET" if form is None else "POST"
            request = self._session.prepare_request(
                requests.Request(method, url, dict(headers), data=form)
            )
            # Not by the session: it reads and unpacks all of a redirect's body.
            response = self._session.get_adapter(str(request.url)).send(
                request,
                stream=True,
                timeout=TIMEOUT,
                verify=not self._trust.is_insecure,
                proxies={place.scheme: through} if through else {},
            )
        except (requests.RequestException, HTTPError, UnicodeError) as error:
            raise diagnosis.unreachable(place, error) from error
        return self._answers.enter_context(Answer(place, response))

    def _check(self, place: Place) -> None:
        """Prepare to verify the host.

        Raises:
            Fault: it is none.

        """
        if not place.is_sound:
            raise diagnosis.senseless(place)
        prefix = f"https://{place.netloc}".lower()
        if place.scheme == "https" and prefix not in self._session.adapters:
            context = self._trust.context(place.netloc)
            self._session.mount(prefix, _Adapter(self._proxies, context))


class _Adapter(HTTPAdapter):
    """Verifies by a context of ours, with a proxy in the way or without."""

    def __init__(self, proxies: Proxies, context: ssl.SSLContext | None = None) -> None:
        self._proxies, self._context = proxies, context
        super().__init__()

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return the login at the proxy, which stands in no URL."""
        parts = urlsplit(proxy)
        found = self._proxies.at((parts.hostname or "", parts.port or 0))
        login = found.authorization if found else None
        return {"Proxy-Authorization": login} if login else {}

    def cert_verify(self, *_arguments: Any, **_options: Any) -> None:
        """Leave authorities to the context, which has those of the system."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
