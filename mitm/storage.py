"""Blobs from the storage that the registry redirects to.

mitmproxy cannot send a request elsewhere once an answer is there, nor stream what
comes from elsewhere. So the registry is asked first, by ourselves, and the client's
request then goes to where it redirects, as if that had been the registry.
"""

import logging
from collections.abc import Mapping
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
from resolver.storage.address import Addresses
from resolver.storage.redirect import STATUSES, Permission, Redirects, Route
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
SENT_HEADERS = forward.FORWARDED_HEADERS - {"accept", "user-agent"}
"""What of a client's request the storage gets."""
_SERVED = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED)
_CODES: Mapping[int, errors.ErrorCode] = {
    HTTPStatus.PRECONDITION_FAILED: errors.ErrorCode.UNSUPPORTED,
    HTTPStatus.TOO_MANY_REQUESTS: errors.ErrorCode.TOOMANYREQUESTS,
}
"""Errors below 500 that are kept. Others say that the URL is wrong or over, and it was
not the client that came with it."""


class Storage:
    """Finds blobs; the blocking work runs in threads of its own."""

    def __init__(self, settings: Settings, observer: Observer, hosts: Hosts) -> None:
        own_host = Url.of(settings.registry_url).host
        addresses = Addresses(own_host, settings.blobs_allowed, hosts, settings.proxies)
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
        purpose.set(str(decision.alias or ""))
        deadline = Deadline.after(self._seconds)
        login, parties = decision.authorization or "", address_party(address)

        async def ask() -> Permission:
            return await self._threads.run(
                self._redirects.ask, decision.path, login, deadline, parties=parties
            )

        async with time_limit(
            deadline,
            "the registry does not say in time where the blob is; try again later",
        ):
            found = None
            if self._cache:
                digest = Digest(decision.path.rpartition("/")[2])
                wish = Wish(method, digest, headers)
                request = Request(wish, decision.path, login, parties)
                found = await self._cache.find(request, ask)
            if found is None:
                find, path = self._redirects.find, decision.path
                found = Found(
                    await self._threads.run(
                        find, method, path, login, deadline, parties=parties
                    )
                )
        if found.route and not found.route.is_cache:
            self._observer.note(Contact(Part.REGISTRY))
        return found

    def learn(self, decision: forward.Forward, response: http.Response) -> None:
        """Take note of the blobs that a client may have by a manifest it was served."""
        if decision.authorization and response.status_code == HTTPStatus.OK:
            repository = decision.path.partition("/manifests/")[0]
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
