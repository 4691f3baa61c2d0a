"""The place where a blob is fetched that the registry does not send itself.

The registry is asked for the blob, and whatever it redirects to is checked, up to a
few times in a row. A signed URL may hold for one method only, so a GET is asked for
the URL of a GET, and it is used at once: no URL is remembered, because permission is
the registry's to give, each time.

Whether a host redirects at all is remembered. One that answered a few requests by
itself is asked no more, and costs nothing from then on; one that redirected once is
always asked, because some send small blobs themselves. A redirect that comes where
none was expected is for `saw_redirect`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Protocol

from cachetools import LRUCache

from resolver.errors import ServiceUnavailable
from resolver.storage.address import Addresses
from resolver.storage.url import Origin, Url, parse_redirect, refuse
from resolver.symptom import Role
from resolver.upstream.deadline import Deadline
from resolver.upstream.transport import Answer

REDIRECTS_MAX = 4
"""In a row: a registry, a mirror, a network of caches and a storage are three."""
ANSWERS_MIN = 3
"""Without a redirect, until no more is expected of a host."""
HOSTS_MAX = 1000
STORAGE_SILENT = (
    "the storage of the registry does not answer at the moment; try again later"
)
STATUSES = frozenset({301, 302, 303, 307, 308})
_GRANTING = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
"""By which registries redirect to a storage. With another one, which may lead to a page
for logins, it counts what is found there."""
_SERVED = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
_ALWAYS = -1


class Searcher(Protocol):
    """Asks for a blob without taking it: a `Transport`."""

    def search(
        self, url: str, *, method: str, authorization: str | None, deadline: Deadline
    ) -> Answer:
        """Return the answer without its body."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a blob is fetched, and how its host is reached."""

    destination: Url
    addresses: Sequence[str]
    """All of the host's, which were checked; one of them is connected to. None where a
    proxy goes for the host."""
    is_registry: bool
    """Whether it is the registry itself, which may see its token again."""
    is_cache: bool = False
    """Whether it is the cache of this process."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a registry answered to somebody who asked for a blob."""

    is_granted: bool
    """Whether it gives the blob, or says where that is."""
    route: Route | None = None
    """Where it is; None where the registry has it, or does not give it."""


class Redirects:
    """Follows the redirects of one registry. For many threads."""

    def __init__(
        self, registry_url: str, addresses: Addresses, searcher: Searcher
    ) -> None:
        self._registry = Url.of(registry_url)
        self._addresses = addresses
        self._searcher = searcher
        self._lock = threading.Lock()
        self._answers: LRUCache[tuple[Origin, str], int] = LRUCache(HOSTS_MAX)

    def find(
        self, method: str, path: str, authorization: str | None, deadline: Deadline
    ) -> Route | None:
        """Return where the blob is; None where the registry is to be asked. Blocks.

        Args:
            method: GET or HEAD.
            path: the blob's, at the registry.
            authorization: the login for the registry, and for nobody else; if any.
            deadline: for all of it.

        Raises:
            RedirectRefused: it is where the proxy does not go.
            ServiceUnavailable: somebody on the way does not answer.

        """
        return self._follow(method, path, authorization, deadline).route

    def ask(
        self, path: str, authorization: str | None, deadline: Deadline
    ) -> Permission:
        """Ask the registry whether somebody may have a blob, and where it is. Blocks.

        It is asked in any case, for its answer is the permission (rule C2).

        Raises:
            RedirectRefused: as in `find`.
            ServiceUnavailable: as in `find`.

        """
        return self._follow("GET", path, authorization, deadline, is_asked=True)

    def _follow(
        self,
        method: str,
        path: str,
        authorization: str | None,
        deadline: Deadline,
        *,
        is_asked: bool = False,
    ) -> Permission:
        """Return what the registry says, and where its redirects lead.

        Args:
            method: GET or HEAD.
            path: the blob's, at the registry.
            authorization: the login for the registry, and for nobody else.
            deadline: for all of it.
            is_asked: whether the registry is asked even if it never redirects.

        """
        here = begin = self._registry.at(path)
        is_registry, decides, is_granted = True, True, False
        addresses: Sequence[str] = ()
        for followed in count():
            is_needed = is_asked and decides
            if not is_needed and not self._may_redirect(here.origin, method):
                break
            try:
                answer = self._searcher.search(
                    here.text,
                    method=method,
                    authorization=authorization if is_registry else None,
                    deadline=deadline,
                )
            except ServiceUnavailable as error:
                error.blame("", Role.REGISTRY if is_registry else Role.STORAGE)
                if error.role is Role.STORAGE and error.cause:
                    error.message = STORAGE_SILENT
                raise
            location = answer.headers.get("Location", "")
            is_redirect = answer.status in STATUSES and location != ""
            if decides:
                is_granted = is_redirect or answer.status in _SERVED
            if not is_redirect:
                self._answered(here.origin, method, answer.status)
                break
            self.saw_redirect(here, method)
            if followed == REDIRECTS_MAX:
                reason = f"there are more than {REDIRECTS_MAX} in a row"
                raise refuse(reason, by=here.netloc)
            here = parse_redirect(location, here)
            addresses = self._addresses.reach(here)
            is_registry = is_registry and here.origin == self._registry.origin
            # Who is sent to the registry again, or to the same path elsewhere, as one
            # from HTTP to TLS, was told nothing yet; nor was who is sent to log in.
            is_elsewhere = not is_registry and here.path != begin.path
            decides = decides and not (is_elsewhere and answer.status in _GRANTING)
        if here is begin:
            return Permission(is_granted)
        return Permission(is_granted, Route(here, addresses, is_registry))

    def saw_redirect(self, where: Url | None, method: str) -> None:
        """Take note that a host redirects; None is the registry."""
        with self._lock:
            self._answers[(where or self._registry).origin, method] = _ALWAYS

    def _may_redirect(self, origin: Origin, method: str) -> bool:
        with self._lock:
            return self._answers.get((origin, method), 0) < ANSWERS_MIN

    def _answered(self, origin: Origin, method: str, status: int) -> None:
        """Take note of an answer; an error says nothing about what else there is."""
        if status not in _SERVED:
            return
        with self._lock:
            seen = self._answers.get((origin, method), 0)
            if seen != _ALWAYS:
                self._answers[origin, method] = seen + 1
