"""What the registry and the API answer, and what of it the client gets."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Response
from tests.integration.session import TIMEOUT, get_token, logged_in, plain_session

SLUG = "balenablocks/browser-aarch64"
ALIAS = f"{SLUG}/2.3.8"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
LIMITED = Response(429, (("Retry-After", "7"),))


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with Proxy(
        cloud.registry_url, arguments=("--set", "balena_api_timeout=2")
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(cloud: LocalCloud) -> Iterator[None]:
    """Let the cloud work again after each test."""
    yield
    assert cloud.registry is not None
    cloud.api.interpose = cloud.registry.interpose = None


def get(url: str, *, token: str | None = None) -> requests.Response:
    """Return the answer to a GET."""
    with plain_session() as session:
        if token is not None:
            session.headers["Authorization"] = f"Bearer {token}"
        return session.get(url, timeout=TIMEOUT)


def test_refused_alias_does_not_spoil_the_rest(front: Proxy) -> None:
    """Each scope is read alone, whether repeated or joined by spaces (R3)."""
    url = f"http://{front.host}"
    names = (ALIAS, f"{SLUG}/9.9.9", "alpine", f"{SLUG}/1.6.0")
    joined = "+".join(f"repository:{name}:pull" for name in names)
    token = get(f"{url}/auth/v1/token?scope={joined}").json()["token"]
    status = {
        name: get(f"{url}/v2/{name}/manifests/latest", token=token).status_code
        for name in (*names, f"{SLUG}/2.3.6")
    }
    assert list(status.values()) == [200, 404, 400, 200, 401]


def test_tag_that_looks_like_a_version_is_warned_about(front: Proxy) -> None:
    """Beside a selector it is ignored, and the answer says which name does (R9)."""
    with logged_in(f"http://{front.host}", ALIAS) as session:
        url = f"http://{front.host}/v2/{ALIAS}/manifests"
        versioned = session.get(f"{url}/1.6.0", timeout=TIMEOUT)
        usual = session.get(f"{url}/latest", timeout=TIMEOUT)
    assert versioned.content == usual.content
    assert f"{SLUG}/1.6.0" in versioned.headers["Warning"]
    assert "Warning" not in usual.headers


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_status_of_the_registry_is_kept(
    cloud: LocalCloud, front: Proxy, status: int
) -> None:
    """A failing registry is not turned into a missing image (R13)."""
    token = get_token(f"http://{front.host}", ALIAS)
    assert cloud.registry is not None
    cloud.registry.interpose = lambda _: Response(status, (("Retry-After", "7"),))
    answer = get(f"http://{front.host}/v2/{ALIAS}/manifests/latest", token=token)
    assert answer.status_code == status
    assert answer.headers["Retry-After"] == "7"


def test_images_of_another_registry_are_refused(cloud: LocalCloud) -> None:
    """A proxy before the wrong registry says so, and the log says why (T10)."""
    assert cloud.registry is not None
    with LocalCloud(registry_host="registry2.example.com") as other:
        other.issuer.audience = cloud.registry_host
        with Proxy(cloud.registry_url, environment={"API_URL": other.api_url}) as proxy:
            url = f"http://{proxy.host}"
            token = get_token(url, ALIAS)
            answer = get(f"{url}/v2/{ALIAS}/manifests/latest", token=token)
            assert answer.status_code == HTTPStatus.NOT_FOUND
            assert "another registry" in answer.text
            assert "registry2.example.com" not in answer.text
            assert "stored at the registry registry2.example.com" in proxy.log


def test_forwarded_headers_count_where_they_are_trusted(cloud: LocalCloud) -> None:
    """Behind a terminator that is trusted, the realm is what its client used."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "hub.example"}
    for variables, url in (
        ({"TRUST_PROXY": "true"}, "https://hub.example"),
        ({"PUBLIC_URL": "https://fixed.example"}, "https://fixed.example"),
    ):
        with Proxy(cloud.registry_url, environment=variables) as proxy:
            with plain_session() as session:
                answer = session.get(
                    f"http://{proxy.host}/v2/", headers=headers, timeout=TIMEOUT
                )
            challenge = answer.headers["WWW-Authenticate"]
            assert f'realm="{url}/auth/v1/token"' in challenge
