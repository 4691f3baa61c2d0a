"""A proxy in whose flows somebody looks for secrets, while a client pulls."""

import base64
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.relay import Relay
from localcloud.server import Request
from resolver.grammar.challenge import TOKEN_PATH
from tests.integration.fault import ALIAS, MANIFEST, port_of
from tests.integration.mitmweb import Mitmweb, mitmweb
from tests.integration.session import TIMEOUT, plain_session

SCOPE = f"repository:{ALIAS}:pull"
WAITING = "waiting for an answer"
"""In the comment of a token request that the API thinks about."""
STREAMED = "being streamed"
"""In that of a blob that is on its way."""
UNDER_WAY = 1 << 18
"""Bytes of a blob that have come when it stalls."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A proxy in whose flows somebody looks."""

    cloud: LocalCloud
    registry: Relay
    proxy: Proxy
    web: Mitmweb

    @property
    def url(self) -> str:
        """The proxy's."""
        return f"http://{self.proxy.host}"

    @property
    def key(self) -> str:
        """An API key."""
        return self.cloud.keys["carol"]

    def everything(self) -> dict[str, str]:
        """Return all that can be had, and the log."""
        return {**self.web.everything(), "the log": self.proxy.log}


@contextmanager
def watching(
    cloud: LocalCloud, folder: Path, *arguments: str, target: str = "", **variables: str
) -> Iterator[Watched]:
    """Run a proxy with mitmweb in front of the target, or else the registry."""
    scheme, _, _ = target.partition("://")
    with (
        Relay(port_of(target or cloud.registry_url)) as registry,
        mitmweb(
            f"{scheme or 'http'}://localhost:{registry.port}",
            folder,
            *("--set", "balena_cache_ttl=0", *arguments),
            environment={"API_URL": cloud.api_url, **variables},
        ) as (proxy, web),
    ):
        yield Watched(cloud, registry, proxy, web)


def basic(key: str) -> str:
    """Return the Basic login with the key as password."""
    return "Basic " + base64.b64encode(f"u:{key}".encode()).decode()


def signature_of(token: str) -> str:
    """Return the signature of a token with aliases."""
    return token.partition("~")[0].rpartition(".")[2]


def secrets_of(key: str, token: str | None = None) -> set[str]:
    """Return what must not be seen: of the token the signature is enough."""
    login = basic(key).split()[1]
    found = {key, login}
    if token is not None:
        found |= {token, signature_of(token)}
    return found


def exposed(had: Mapping[str, str], secrets: set[str]) -> list[str]:
    """Return in what of all that was had the secrets are."""
    return [way for way, text in had.items() if any(one in text for one in secrets)]


@contextmanager
def thinking[R](cloud: LocalCloud, call: Callable[[], R]) -> Iterator[Future[R]]:
    """Let the API think about what a client asks; yield once it does."""
    asked, go_on = Event(), Event()

    def think(_request: Request) -> None:
        asked.set()
        go_on.wait(TIMEOUT)

    with ThreadPoolExecutor(1) as pool:
        cloud.api.interpose = think
        try:
            client = pool.submit(call)
            assert asked.wait(TIMEOUT)
            yield client
        finally:
            cloud.api.interpose = None
            go_on.set()


def ask_with_basic(url: str, key: str) -> requests.Response:
    """Ask for a token as docker does, with the key where it does not belong as well."""
    query = {"scope": SCOPE, "account": "u", "apikey": key}
    return _ask("GET", url + TOKEN_PATH, params=query, auth=("u", key))


def ask_with_form(url: str, key: str) -> requests.Response:
    """Ask for a token as containerd does."""
    form = {"grant_type": "password", "username": "u", "password": key, "scope": SCOPE}
    return _ask("POST", url + TOKEN_PATH, data=form)


def ask_with_bearer(url: str, key: str) -> requests.Response:
    """Ask for a token as tools of balena's own do."""
    login = {"Authorization": f"Bearer {key}"}
    return _ask("GET", url + TOKEN_PATH, params={"scope": SCOPE}, headers=login)


def manifest(url: str, token: str) -> requests.Response:
    """Return the answer to a request for the manifest."""
    headers = {"Authorization": f"Bearer {token}", "Accept": MANIFEST}
    return _ask("GET", f"{url}/v2/{ALIAS}/manifests/latest", headers=headers)


def _ask(method: str, url: str, **content: Any) -> requests.Response:
    with plain_session() as session:
        return session.request(method, url, timeout=TIMEOUT, **content)
