"""Blobs from the storage that the registry redirects to.

mitmproxy cannot send a request elsewhere once an answer is there, nor stream what
comes from elsewhere. So the registry is asked first, by ourselves, and the client's
request then goes to where it redirects, as if that had been the registry.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from mitmproxy import exceptions, http

from mitm import redaction, secret
from mitm.exchange import Exchange
from mitm.reply import JSON_HEADERS, fields, with_id
from mitm.settings import Settings
from resolver import errors
from resolver.blob.grant import Grants
from resolver.blob.manifest import named_blobs
from resolver.blob.request import Found, Request, Wish
from resolver.content import answer, forward
from resolver.grammar.reference import Digest
from resolver.grammar.url import format_host
from resolver.storage.address import Addresses
from resolver.storage.redirect import (
    STATUSES,
    STORAGE_SILENT,
    Permission,
    Redirects,
    Route,
)
from resolver.storage.url import Url
from resolver.upstream.deadline import Deadline
from resolver.upstream.host import Hosts
from resolver.upstream.observer import Contact, Observer, Part, purpose
from resolver.upstream.share import address_party
from resolver.upstream.threads import Threads, time_limit
from resolver.upstream.transport import USER_AGENT, Transport

if TYPE_CHECKING:
    from resolver.blob.cache import BlobCache

logger = logging.getLogger(__name__)

THREADS = 128
"""As many blobs are looked for at the same time; each takes milliseconds."""
SHARE = 32
"""So many of them for one client's address."""
LATE = "the registry does not say in time where the blob is; try again later"
SENT_HEADERS = forward.FORWARDED_HEADERS - {"accept", "user-agent"}
"""What of a client's request the storage gets."""
_SERVED = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED)
_CODES: Mapping[int, errors.ErrorCode] = {
    HTTPStatus.PRECONDITION_FAILED: errors.ErrorCode.UNSUPPORTED,
    HTTPStatus.TOO_MANY_REQUESTS: errors.ErrorCode.TOOMANYREQUESTS,
}
"""Errors below 500 that are kept. Others say that the URL is wrong or over, and it was
not the client that came with it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where nginx fetches a blob: at an address that was checked, and nowhere else."""

    destination: Url
    address: str
    is_registry: bool
    """Whether it is the registry itself, which gets the client's token."""

    @property
    def server(self) -> str:
        """Scheme, address and port, so that nobody looks the name up again."""
        place = format_host(self.address, self.destination.port)
        return f"{self.destination.scheme}://{place}"


class Storage:
    """Finds blobs; the blocking work runs in threads of its own."""

    def __init__(self, settings: Settings, observer: Observer, hosts: Hosts) -> None:
        own_host = Url.of(settings.registry_url).host
        addresses = Addresses(own_host, settings.blobs_allowed, hosts, settings.proxies)
        self._addresses = addresses
        self._registry = Url.of(settings.registry_url)
        self._observer = observer
        self._transport = Transport(
            settings.verification,
            connections=SHARE,
            observer=observer,
            hosts=hosts,
            address_of=addresses.choose,
            proxies=settings.proxies,
        )
        self._redirects = Redirects(settings.registry_url, addresses, self._transport)
        self._grants = Grants()
        self._has_grants = settings.cache_dir is not None or settings.has_nginx
        self._seconds = settings.limits.registry_seconds
        self._cache = self._open_cache(settings, addresses, hosts)
        self._threads = Threads(THREADS, "balena-blob", share=SHARE)

    @property
    def cache(self) -> "BlobCache | None":
        """The cache of blobs, if there is one."""
        return self._cache

    async def find(
        self,
        method: str,
        decision: forward.Forward,
        headers: Mapping[str, str],
        address: str,
    ) -> Found:
        """Return where a blob is.

        Args:
            method: GET or HEAD.
            decision: what would go to the registry.
            headers: the client's, by their names in lower case.
            address: of the client that asks.

        Raises:
            RedirectRefused: it is where the proxy does not go.
            ServiceUnavailable: registry or storage do not answer in time.

        """
        found = None
        if self._cache:
            digest = Digest(decision.path.rpartition("/")[2])
            request = Request(
                Wish(method, digest, headers),
                decision.path,
                decision.authorization,
                address_party(address),
            )
            ask = partial(self._ask, decision, address)
            async with time_limit(Deadline.after(self._seconds), LATE):
                found = await self._cache.find(request, ask)
        if found is None:
            find = partial(self._redirects.find, method)
            found = Found(await self._run(find, decision, address))
        if found.route and not found.route.is_cache:
            self._observer.note(Contact(Part.REGISTRY))
        return found

    async def may_have(
        self, decision: forward.Forward, digest: str, address: str
    ) -> bool:
        """Return whether a client may have a blob that is kept (rule C2).

        Raises:
            RedirectRefused: as in `find`.
            ServiceUnavailable: as in `find`.

        """
        repository = decision.path.rpartition("/blobs/")[0]
        if self._grants.has(decision.authorization, repository, digest):
            return True
        return (await self._ask(decision, address)).is_granted

    async def locate(self, decision: forward.Forward, address: str) -> Place | None:
        """Return where a blob is; None where the registry does not give it.

        Raises:
            RedirectRefused: as in `find`.
            ServiceUnavailable: as in `find`.

        """
        permission = await self._ask(decision, address)
        if not permission.is_granted:
            return None
        here = self._registry.at(decision.path)
        route = permission.route or Route(here, (), is_registry=True)
        host, port = route.destination.host, route.destination.port
        try:
            chosen = await self._run(
                lambda *_: self._addresses.choose(host, port), decision, address
            )
        except OSError as error:
            failed = errors.ServiceUnavailable.because(
                errors.Reason.CONNECTION, STORAGE_SILENT
            )
            failed.cause = str(error) or "it takes too long"
            raise failed from error
        return Place(route.destination, chosen, route.is_registry)

    async def _ask(self, decision: forward.Forward, address: str) -> Permission:
        """Return what the registry says to the client that wants a blob."""
        permission = await self._run(self._redirects.ask, decision, address)
        self._observer.note(Contact(Part.REGISTRY))
        return permission

    async def _run[R](
        self,
        search: Callable[[str, str | None, Deadline], R],
        decision: forward.Forward,
        address: str,
    ) -> R:
        """Return what a search for a blob finds, in time and in a thread."""
        purpose.set(decision.name)
        deadline = Deadline.after(self._seconds)
        async with time_limit(deadline, LATE):
            return await self._threads.run(
                search,
                decision.path,
                decision.authorization,
                deadline,
                parties=address_party(address),
            )

    def learn(self, decision: forward.Forward, response: http.Response) -> None:
        """Take note of the blobs that a client may have by a manifest it was served."""
        is_served = response.status_code == HTTPStatus.OK
        if self._has_grants and is_served:
            repository = decision.path.rpartition("/manifests/")[0]
            media_type = response.headers.get("content-type", "")
            blobs = named_blobs(media_type, response.raw_content or b"")
            self._grants.add(decision.authorization, repository, blobs)

    def check_head(
        self, method: str, response: http.Response, route: Route | None
    ) -> None:
        """See that no client is sent to the storage, which it may not reach.

        Raises:
            ServiceUnavailable: the answer is a redirect; the next one is followed.

        """
        if response.status_code not in STATUSES:
            return
        self._redirects.saw_redirect(route.destination if route else None, method)
        raise errors.ServiceUnavailable.with_retry_after(
            "the blob is stored elsewhere than it was until now; try again", 1
        )

    def close(self) -> None:
        """Let go of threads and connections."""
        if self._cache:
            self._cache.close()
        self._threads.close()
        self._transport.close()

    def _open_cache(
        self, settings: Settings, addresses: Addresses, hosts: Hosts
    ) -> "BlobCache | None":
        """Return the cache of blobs, if the settings name a folder for it.

        Raises:
            OptionsError: the folder cannot be written.

        """
        if settings.cache_dir is None:
            return None
        # It is loaded where somebody wants it.
        from resolver.blob.cache import BlobCache  # noqa: PLC0415
        from resolver.blob.folder import Folder  # noqa: PLC0415

        transport = Transport(
            settings.verification,
            connections=SHARE,
            hosts=hosts,
            address_of=addresses.choose,
            proxies=settings.proxies,
            piece_seconds=self._seconds,
        )
        try:
            folder = Folder(settings.cache_dir, settings.cache_size)
        except OSError as error:
            raise exceptions.OptionsError(
                f"balena_cache_dir (CACHE): {str(settings.cache_dir)!r} cannot be used,"
                f" {error.strerror}; name a folder in which this user may make files"
            ) from error
        return BlobCache(
            folder,
            self._redirects,
            transport,
            grants=self._grants,
            registry_url=settings.registry_url,
            seconds=self._seconds,
        )


def rewrite_request(
    flow: http.HTTPFlow, exchange: Exchange, route: Route, token: str | None
) -> None:
    """Make the client's request one for the storage, without any login.

    Where the registry redirects to itself, it gets the token again.
    """
    request, destination = flow.request, route.destination
    own = [("Host", destination.netloc), ("User-Agent", USER_AGENT)]
    sent = [
        (name, value)
        for name, value in request.headers.fields
        if name.decode("latin-1").lower() in SENT_HEADERS
    ]
    request.scheme = destination.scheme
    request.host, request.port = destination.host, destination.port
    request.headers = http.Headers([*fields(own), *sent])
    request.raw_content = b""
    request.path = redaction.without_signature(destination.path)
    exchange.send(flow, secret.SignedPath(destination.path, request.path))
    exchange.send_login(flow, token if route.is_registry else None)


def rewrite_head(
    flow: http.HTTPFlow, response: http.Response, route: Route, digest: str
) -> None:
    """Leave of the answer's head what the client may know, and what it needs."""
    status = response.status_code
    is_served = status in _SERVED
    names = answer.BLOB_HEADERS if is_served else answer.ERROR_HEADERS
    response.headers = http.Headers(answer.pass_on(response.headers.fields, names))
    if is_served:
        response.headers["Docker-Content-Digest"] = digest
        response.stream = True
        return
    if status != HTTPStatus.PRECONDITION_FAILED:  # Which the client itself asked for.
        logger.warning(
            "the storage %s answers with status %d", route.destination.netloc, status
        )
    if status not in _CODES and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        response.status_code = HTTPStatus.BAD_GATEWAY
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        response.headers.setdefault("Retry-After", str(errors.RETRY_AFTER_DEFAULT))
    response.headers.update(dict(JSON_HEADERS))
    if flow.request.method == "HEAD":
        # There is no body to replace, and the length is that of the storage's own.
        response.headers.pop("content-length", None)
        response.stream = True


def rewrite_body(response: http.Response, request_id: str) -> None:
    """Put our own words in the place of the storage's, which name it."""
    if response.stream:
        return
    status = response.status_code
    what = "does not send this blob; try again later"
    if status == HTTPStatus.PRECONDITION_FAILED:
        what = f"answers with status {status}"
    code = _CODES.get(status, errors.ErrorCode.UNAVAILABLE)
    message = with_id(f"the storage of the registry {what}", request_id)
    response.content = errors.error_body(code, message)
