"""What the OCI distribution specification asks of content discovery, by its sentences.

Here localcloud's registry is behind the proxy, because docker-registry 2.8 has no
referrers, and no pages of tags; what neither of them sends is put into its mouth.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#content-discovery
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.image import OCI_INDEX
from localcloud.server import Request, Response
from tests.integration.visitor import Visitor, visiting

SLUG = "balenablocks/browser-aarch64"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
PINNED = "balenablocks/pinned-app"
NOTE = "application/vnd.localcloud.note.v1+text"
ABSENT = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to name the image, to a proxy with this value of TAGS."""

    name: str
    tag: str
    tags: str


MODES = {
    "path": Mode(f"{SLUG}/2.3.8", "latest", "select"),
    "tag ignored": Mode(SLUG, "latest", "ignore"),
    "tag selects": Mode(SLUG, "2.3.8", "select"),
}


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def scene(
    request: pytest.FixtureRequest, cloud: LocalCloud
) -> Iterator[tuple[Mode, Proxy]]:
    """Each mode in turn, and its proxy."""
    mode: Mode = request.param
    with Proxy(cloud.registry_url, environment={"TAGS": mode.tags}) as proxy:
        yield mode, proxy


@pytest.fixture
def visitor(scene: tuple[Mode, Proxy]) -> Iterator[Visitor]:
    """A client that has pulled the manifest."""
    mode, proxy = scene
    with visiting(f"http://{proxy.host}", mode.name) as visitor:
        assert visitor.ask("GET", f"manifests/{mode.tag}").ok
        yield visitor


@pytest.fixture
def digest(scene: tuple[Mode, Proxy], visitor: Visitor) -> str:
    """The manifest's digest."""
    answer = visitor.ask("HEAD", f"manifests/{scene[0].tag}")
    digest: str = answer.headers["Docker-Content-Digest"]
    return digest


@pytest.fixture(autouse=True)
def healthy(cloud: LocalCloud) -> Iterator[None]:
    """Let the registry say what it says again after each test."""
    yield
    assert cloud.registry is not None
    cloud.registry.interpose = None


def say(cloud: LocalCloud, part: str, answer: Response) -> None:
    """Let the registry answer so where the path has the part in it."""

    def interpose(request: Request) -> Response | None:
        return answer if part in request.path else None

    assert cloud.registry is not None
    cloud.registry.interpose = interpose


def test_referrers(visitor: Visitor, digest: str) -> None:
    """Referrers MUST be 200 with an image index, whose descriptors have their type."""
    answer = visitor.ask("GET", f"referrers/{digest}")
    assert answer.status_code == requests.codes.ok
    assert answer.headers["Content-Type"] == OCI_INDEX
    index = answer.json()
    assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
    (descriptor,) = index["manifests"]
    assert descriptor["artifactType"] == NOTE
    note = visitor.ask("GET", f"manifests/{descriptor['digest']}")
    assert (note.status_code, len(note.content)) == (200, descriptor["size"])
    assert note.json()["subject"]["digest"] == digest
    layer = visitor.ask("GET", f"blobs/{note.json()['layers'][0]['digest']}")
    assert layer.text == "Built by localcloud as 2.3.8+rev2."


def test_no_referrers(visitor: Visitor) -> None:
    """A query without matches MUST be an empty list, and never 404."""
    answer = visitor.ask("GET", f"referrers/{ABSENT}")
    assert answer.status_code == requests.codes.ok
    assert answer.json()["manifests"] == []


def test_filter_of_referrers(cloud: LocalCloud, visitor: Visitor, digest: str) -> None:
    """What is filtered MUST say OCI-Filters-Applied; the filter is the registry's."""
    said = (("OCI-Filters-Applied", "artifactType"), ("Content-Type", OCI_INDEX))
    say(cloud, "/referrers/", Response(200, said, b"{}"))
    assert cloud.registry is not None
    cloud.registry.requests.clear()
    query = "artifactType=application/vnd.example.sbom.v1%2Bjson"
    answer = visitor.ask("GET", f"referrers/{digest}?{query}&ns=docker.io")
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    (target,) = (
        one.target for one in cloud.registry.requests if "/referrers/" in one.target
    )
    path, _, sent = target.partition("?")
    assert path == f"/v2/{LOCATION}/referrers/{digest}"
    assert sent.replace("%2F", "/") == query


def test_next_page(
    cloud: LocalCloud, scene: tuple[Mode, Proxy], visitor: Visitor, digest: str
) -> None:
    """Link MUST be set by RFC 5988 with rel="next", and leads to the proxy."""
    mode = scene[0]
    # Where tags select, the proxy itself lists them: see `test_pages_of_tags`.
    lists = [] if mode.tag == "2.3.8" else ["tags/list"]
    for path in (f"referrers/{digest}", *lists):
        link = f'<{cloud.registry_url}/v2/{LOCATION}/{path}?last=a&n=1>; rel="next"'
        say(cloud, path, Response(200, (("Link", link),), b"{}"))
        answer = visitor.ask("GET", f"{path}?n=1")
        expected = f'</v2/{mode.name}/{path}?last=a&n=1>; rel="next"'
        assert answer.headers["Link"] == expected


@pytest.fixture(scope="module")
def selecting(cloud: LocalCloud) -> Iterator[Visitor]:
    """A client of a proxy that lists the tags itself."""
    with (
        Proxy(cloud.registry_url, environment={"TAGS": "select"}) as proxy,
        visiting(f"http://{proxy.host}", PINNED) as visitor,
    ):
        yield visitor


def test_pages_of_tags(selecting: Visitor) -> None:
    """A client that follows the links gets each tag once, and all of them."""
    tags: list[str] = []
    path: str | None = f"/v2/{PINNED}/tags/list?n=2"
    while path:
        answer = selecting.ask_for("GET", path)
        tags += answer.json()["tags"]
        link = answer.links.get("next")
        path = link["url"] if link else None
        assert not path or not urlsplit(path).netloc, "it is relative to the host"
    assert tags == ["1.0.0", "1.1.0", "2.0.0", "2.1.0", "latest"]


@pytest.mark.parametrize(
    "path", ["manifests/{tag}", "blobs/{digest}", "referrers/{digest}"]
)
def test_too_many_requests(
    cloud: LocalCloud, scene: tuple[Mode, Proxy], visitor: Visitor, path: str
) -> None:
    """429 is TOOMANYREQUESTS, and by RFC 6585 says when to come again."""
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}'
    said = (("Retry-After", "7"), ("Content-Type", "application/json"))
    say(cloud, "/v2/v2/", Response(429, said, body))
    path = path.format(tag=scene[0].tag, digest=ABSENT)
    answer = visitor.ask("GET", path)
    assert answer.status_code == requests.codes.too_many_requests
    assert answer.headers["Retry-After"] == "7"
    assert answer.json()["errors"][0]["code"] == "TOOMANYREQUESTS"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OCI-Subject", ABSENT),
        ("OCI-Tag", "a, b"),
        ("Warning", '299 - "this image is deprecated"'),
        ("Content-Type", "application/vnd.example+json"),
        ("Docker-Content-Digest", "sha512:" + "0" * 128),
    ],
)
def test_header_of_the_registry(
    cloud: LocalCloud,
    scene: tuple[Mode, Proxy],
    visitor: Visitor,
    name: str,
    value: str,
) -> None:
    """What the registry says of a manifest in its headers stays as it is."""
    say(cloud, "/manifests/", Response(200, ((name, value),), b"{}"))
    for method in ("GET", "HEAD"):
        answer = visitor.ask(method, f"manifests/{scene[0].tag}")
        assert answer.headers[name] == value


def test_warning_beside_the_registrys(
    cloud: LocalCloud, scene: tuple[Mode, Proxy], visitor: Visitor
) -> None:
    """A response MAY have several warnings, and ours takes the place of none."""
    own = '299 - "this image is deprecated"'
    say(cloud, "/manifests/", Response(200, (("Warning", own),), b"{}"))
    if scene[0].tag == "2.3.8":
        answer = visitor.ask("GET", "manifests/2.3.8")
        assert answer.headers["Warning"] == own
    else:
        answer = visitor.ask("GET", "manifests/1.6.0")
        first, second = answer.headers["Warning"].split(", ", 1)
        assert first == own
        assert f"{SLUG}/1.6.0" in second
