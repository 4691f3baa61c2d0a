"""A name is what it was chosen to be: an alias, or the registry's own."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest

from resolver.content.forward import Forward
from resolver.content.locator import Asker
from resolver.errors import RealmRefused
from resolver.grammar.credential import ANONYMOUS
from resolver.grammar.endpoint import Base, Catalog, Content, parse_endpoint
from resolver.naming import OwnNames
from resolver.upstream.observer import NOBODY, Part
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import VIA, Transport, Verification
from tests.resolver.fake import LOCATION, REGISTRY, basic

BLOB = f"blobs/sha256:{'ab' * 32}"


@pytest.fixture
def names() -> Iterator[OwnNames]:
    """Names of the registry."""
    transport = Transport(Verification())
    upstream = Upstream(REGISTRY, None, transport)
    with closing(
        OwnNames(upstream, transport, realm_hosts=(), token_seconds=1, observer=NOBODY)
    ) as made:
        yield made


@pytest.mark.parametrize(
    "path",
    [
        "/v2/",
        "/v2/_catalog",
        "/v2/_catalog?n=5&last=a",
        "/v2/hello/manifests/latest",
        "/v2/a/b/c/d/e.f/g__h/manifests/v1.0",
        f"/v2/{LOCATION}/{BLOB}",
        "/v2/a/tags/list?n=5&last=x&next_page=y",
        f"/v2/a/referrers/sha256:{'ab' * 32}?artifactType=x",
    ],
)
@pytest.mark.parametrize(
    "login", [None, basic("AWS", "made-up"), "Bearer a.b.c~d", "Bearer opaque"]
)
def test_request_is_as_it_came(names: OwnNames, path: str, login: str | None) -> None:
    """Path and login go to the registry unchanged, and nothing is taken off."""
    endpoint = parse_endpoint("GET", path, names.surface)
    assert isinstance(endpoint, Base | Content)
    found = asyncio.run(names.decide(endpoint, Asker(login)))
    assert isinstance(found, Forward)
    assert (found.path, found.authorization) == (path, login)
    assert found.location is None
    assert not found.is_challenged


def test_name_is_known(names: OwnNames) -> None:
    """What the proxy asks for somebody is told with the name that they used."""
    endpoint = parse_endpoint("GET", f"/v2/team/app/{BLOB}", names.surface)
    assert isinstance(endpoint, Content)
    found = asyncio.run(names.decide(endpoint, Asker(None)))
    assert isinstance(found, Forward)
    assert found.name == "team/app"
    assert isinstance(parse_endpoint("GET", "/v2/_catalog", names.surface), Catalog)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_realm_that_is_this_proxy(names: OwnNames, method: str) -> None:
    """One request does not go round until all threads are taken."""
    for via in (VIA, f"1.0 other, {VIA}"):
        with pytest.raises(RealmRefused, match="names this proxy itself"):
            names.parse_token_request(method, "", {"via": via}, b"")
    # Another one of the kind may stand in front.
    other = {"via": "1.1 balena-registry-proxy-00"}
    assert not names.parse_token_request("GET", "", other, b"").scopes


def test_nothing_is_said_of_releases(names: OwnNames) -> None:
    """Neither at the start nor at a prompt, and no API is watched."""
    said = asyncio.run(names.describe("library/hello:1.0", ANONYMOUS))
    assert said == (
        "'library/hello:1.0' stands for itself: names are those of the registry"
        f" {REGISTRY}"
    )
    assert names.introduce("http://here") == (
        f"the registry {REGISTRY} is served at http://here, with its own names"
    )
    assert names.parts == (Part.REGISTRY,)
    assert names.cache.entries() == []
