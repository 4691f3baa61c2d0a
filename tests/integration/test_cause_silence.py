"""Where all is well, the proxy names no fault, neither in its log nor in a flow."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from mitm.story.record import Record
from tests.client.client import Skopeo
from tests.integration.cause import Bench, cloud_of, token_of
from tests.integration.fault import ALIAS, LOCATION, MANIFEST
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.shape import DOCKER_HUB, ECR, GHCR, PUBLIC, Shape, StandIn
from tests.integration.test_any_registry import LOGIN, OWN_NAMES, visiting
from tests.integration.tool import wait_until

BLOBS = f"/v2/{ALIAS}/blobs"
MANIFESTS = f"/v2/{ALIAS}/manifests"
ABSENT = f"sha256:{'0' * 64}"

type Good = Callable[[Bench, Installation], None]


class Reader:
    """A client that has a token, and asks for what it likes."""

    def __init__(self, bench: Bench) -> None:
        self._url = bench.url
        self._session = bench.enter(plain_session())
        self._session.headers["Authorization"] = f"Bearer {token_of(bench)}"
        self._session.headers["Accept"] = MANIFEST

    def ask(self, path: str, method: str = "GET", **headers: str) -> requests.Response:
        """Return the answer, without following it anywhere."""
        return self._session.request(
            method,
            f"{self._url}{path}",
            headers=headers,
            timeout=TIMEOUT,
            allow_redirects=False,
        )

    @property
    def manifest(self) -> requests.Response:
        """The manifest."""
        answer = self.ask(f"{MANIFESTS}/latest")
        assert answer.status_code == 200
        return answer

    @property
    def layer(self) -> str:
        """The path of a blob."""
        return f"{BLOBS}/{self.manifest.json()['layers'][0]['digest']}"


def streamed(bench: Bench, installation: Installation) -> None:
    """docker-registry sends blobs itself, and skopeo pulls an image."""
    bench.front(installation.url)
    pull_all(bench)


def redirected(bench: Bench, _: Installation) -> None:
    """The registry redirects, and the client follows."""
    bench.front(cloud_of(bench, redirect_blobs=True).registry_url)
    pull_all(bench)


def followed(bench: Bench, _: Installation) -> None:
    """The proxy follows in the client's place."""
    url = cloud_of(bench, redirect_blobs=True).registry_url
    bench.front(url, BLOBS="follow", BLOBS_ALLOW="127.0.0.0/8")
    pull_all(bench)


def cached(bench: Bench, installation: Installation) -> None:
    """The proxy keeps blobs; the second pull finds them there."""
    bench.front(installation.url, CACHE=str(bench.folder / "cache"))
    pull_all(bench)
    pull_all(bench)


def behind_nginx(bench: Bench, installation: Installation) -> None:
    """Nginx in front of the registry changes no more than it does by itself.

    Nor is the digest missed in a header, which clients make themselves.
    """
    between = bench.nginx(
        f"""location / {{
          proxy_pass {installation.url};
          proxy_set_header Host $http_host;
          proxy_hide_header Docker-Content-Digest;
          gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;
        }}"""
    )
    bench.front(between, API_URL=installation.cloud.api_url)
    pull_all(bench)


def heads(bench: Bench, installation: Installation) -> None:
    """Clients ask by HEAD what is there, and what is not."""
    bench.front(installation.url)
    reader = Reader(bench)
    assert reader.ask(f"{MANIFESTS}/latest", "HEAD").status_code == 200
    assert reader.ask(reader.layer, "HEAD").status_code == 200
    assert reader.ask(f"{BLOBS}/{ABSENT}", "HEAD").status_code == 404


def artifacts(bench: Bench, installation: Installation) -> None:
    """oras, cosign and others ask for artifacts that most images do not have."""
    bench.front(installation.url)
    reader = Reader(bench)
    digest = installation.digest(LOCATION)
    for suffix in (".sig", ".att", ".sbom"):
        tag = digest.replace(":", "-") + suffix
        assert reader.ask(f"{MANIFESTS}/{tag}").status_code == 404
    tag = digest.replace(":", "-")
    assert reader.ask(f"{MANIFESTS}/{tag}").status_code == 404
    referrers = reader.ask(f"/v2/{ALIAS}/referrers/{digest}")
    assert referrers.status_code in (200, 404)


def ranges(bench: Bench, installation: Installation) -> None:
    """A client goes on where it was, as docker does; and once more."""
    bench.front(installation.url)
    reader = Reader(bench)
    for _ in range(3):
        answer = reader.ask(reader.layer, Range="bytes=1-")
        assert answer.status_code == 206


def redirected_ranges(bench: Bench, _: Installation) -> None:
    """Parts of a blob are fetched one after the other from the storage."""
    bench.front(cloud_of(bench, redirect_blobs=True).registry_url)
    reader = Reader(bench)
    layer = reader.layer
    for begin in (0, 1000, 2000):
        answer = reader.ask(layer, Range=f"bytes={begin}-{begin + 999}")
        assert answer.status_code == 307


def two_clients(bench: Bench, _: Installation) -> None:
    """Two clients at one address pull the same, each with its own token."""
    bench.front(cloud_of(bench, redirect_blobs=True).registry_url)
    for reader in (Reader(bench), Reader(bench)):
        assert reader.ask(reader.layer).status_code == 307


def unchanged(bench: Bench, installation: Installation) -> None:
    """What a client has already is not sent again."""
    bench.front(installation.url)
    reader = Reader(bench)
    tag = reader.manifest.headers["Etag"]
    again = {"If-None-Match": tag}
    assert reader.ask(f"{MANIFESTS}/latest", **again).status_code == 304
    layer = reader.layer
    tag = reader.ask(layer, "HEAD").headers["Etag"]
    assert reader.ask(layer, **{"If-None-Match": tag}).status_code == 304


def by_digest(bench: Bench, installation: Installation) -> None:
    """A manifest is pulled by its digest."""
    bench.front(installation.url)
    reader = Reader(bench)
    digest = installation.digest(LOCATION)
    assert reader.ask(f"{MANIFESTS}/{digest}").status_code == 200


def challenged(bench: Bench, installation: Installation) -> None:
    """Who has no token is told where to get one."""
    bench.front(installation.url)
    with plain_session() as session:
        for path in ("/v2/", f"{MANIFESTS}/latest", f"{BLOBS}/{ABSENT}"):
            answer = session.get(f"{bench.url}{path}", timeout=TIMEOUT)
            assert answer.status_code == 401


def tags(bench: Bench, installation: Installation) -> None:
    """Tags are listed."""
    bench.front(installation.url)
    assert Reader(bench).ask(f"/v2/{ALIAS}/tags/list").status_code == 200


def closed_connections(bench: Bench, installation: Installation) -> None:
    """A connection that was kept is closed meanwhile, and another one is made."""
    bench.front(installation.url)
    reader = Reader(bench)
    for _ in range(3):
        assert reader.manifest.ok


def own_names(shape: Shape, bench: Bench, *logins: tuple[str, str] | None) -> None:
    """Let clients of one address, with these logins, pull the same by its own name."""
    stand_in = bench.enter(StandIn(shape))
    bench.front(
        stand_in.url, options=("--set", "balena_registry_timeout=10"), **OWN_NAMES
    )
    assert bench.proxy
    for login in logins:
        with visiting(bench.proxy, login) as client:
            manifest = client.get(f"/v2/{PUBLIC}/manifests/latest").json()
            for blob in (manifest["config"], *manifest["layers"]):
                answer = client.get(f"/v2/{PUBLIC}/blobs/{blob['digest']}")
                assert len(answer.content) == blob["size"]


def docker_hub(bench: Bench, _: Installation) -> None:
    """Names are the registry's own, and its realm is another host."""
    own_names(DOCKER_HUB, bench, None, LOGIN)


def opaque_tokens(bench: Bench, _: Installation) -> None:
    """Two clients have tokens of which nobody knows what they say."""
    own_names(GHCR, bench, None, None)


def basic_login(bench: Bench, _: Installation) -> None:
    """A registry takes logins itself, without any token."""
    own_names(ECR, bench, LOGIN)


def pull_all(bench: Bench) -> None:
    """Let skopeo pull an image."""
    assert bench.proxy
    number = len(list(bench.folder.glob("skopeo*")))
    Skopeo(bench.folder / f"skopeo{number}").pull(f"{bench.proxy.host}/{ALIAS}")


GOOD: Mapping[str, Good] = {
    each.__name__: each
    for each in (
        *(streamed, redirected, followed, cached, behind_nginx, heads, artifacts),
        *(ranges, redirected_ranges, two_clients, unchanged, by_digest, challenged),
        *(tags, closed_connections, docker_hub, opaque_tokens, basic_login),
    )
}


@pytest.mark.parametrize("name", GOOD)
def test_silence(
    name: str,
    installation: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No line and no flow has a fault, and none is missing."""
    with ExitStack() as stack:
        bench = Bench(tmp_path, stack, monkeypatch)
        GOOD[name](bench, installation)
        served = {"served", "challenged", "refused"}

        def is_written() -> bool:
            ended = [Record.read(flow) for flow in bench.saved()]
            return len(ended) > 0 and all(each and each.outcome for each in ended)

        wait_until(is_written, "the flows are saved")
        for flow in bench.saved():
            record = Record.read(flow)
            assert record
            assert record.outcome in served, record
            assert record.fault is None, record.finding
        for line in bench.lines():
            assert "fault" not in line, line
