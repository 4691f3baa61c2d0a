"""What the OCI specification asks of content discovery, and of headers, by its words.

Here localcloud's registry is behind the proxy, because docker-registry 2.8 has no
referrers; what neither of them sends is put into its mouth. Lists of referrers and of
tags, page by page, `tests/golden` has.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#content-discovery
"""

from collections.abc import Iterator

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.image import OCI_INDEX
from localcloud.server import Request, Response
from tests.integration.visitor import Visitor, visiting

SLUG = "balenablocks/browser-aarch64"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
DIGEST = "sha256:" + "0" * 64
OWN = '299 - "this image is deprecated"'


@pytest.fixture(scope="module")
def visitor(cloud: LocalCloud) -> Iterator[Visitor]:
    """A client that has pulled the manifest."""
    with (
        Proxy(cloud.registry_url) as proxy,
        visiting(f"http://{proxy.host}", f"{SLUG}/2.3.8") as made,
    ):
        assert made.ask("GET", "manifests/latest").ok
        yield made


def say(cloud: LocalCloud, part: str, *headers: tuple[str, str]) -> None:
    """Let the registry answer so where the path has the part in it."""

    def interpose(request: Request) -> Response | None:
        return Response(200, headers, b"{}") if part in request.path else None

    assert cloud.registry is not None
    cloud.registry.interpose = interpose
    cloud.registry.requests.clear()


def test_filter_of_referrers(cloud: LocalCloud, visitor: Visitor) -> None:
    """What is filtered MUST say OCI-Filters-Applied; the filter is the registry's."""
    applied = ("OCI-Filters-Applied", "artifactType")
    say(cloud, "/referrers/", applied, ("Content-Type", OCI_INDEX))
    query = "artifactType=application/vnd.example.sbom.v1%2Bjson"
    answer = visitor.ask("GET", f"referrers/{DIGEST}?{query}&ns=docker.io")
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert cloud.registry is not None
    target = cloud.registry.requests[-1].target.replace("%2F", "/")
    assert target == f"/v2/{LOCATION}/referrers/{DIGEST}?{query}"


@pytest.mark.parametrize(
    "header",
    [
        ("OCI-Subject", DIGEST),
        ("OCI-Tag", "a, b"),
        ("Warning", OWN),
        ("Content-Type", "application/vnd.example+json"),
        ("Docker-Content-Digest", "sha512:" + "0" * 128),
    ],
    ids=str,
)
def test_header_of_the_registry(
    cloud: LocalCloud, visitor: Visitor, header: tuple[str, str]
) -> None:
    """What the registry says of a manifest in its headers stays as it is."""
    say(cloud, "/manifests/", header)
    for method in ("GET", "HEAD"):
        assert header in visitor.ask(method, "manifests/latest").headers.items()


def test_warning_beside_the_registrys(cloud: LocalCloud, visitor: Visitor) -> None:
    """A response MAY have several warnings, and ours takes the place of none."""
    say(cloud, "/manifests/", ("Warning", OWN))
    warnings = visitor.ask("GET", "manifests/1.6.0").headers["Warning"]
    assert warnings.startswith(f"{OWN}, ")
    assert f"{SLUG}/1.6.0" in warnings
