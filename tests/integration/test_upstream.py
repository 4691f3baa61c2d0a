"""What the registry and the API answer, and what of it the client gets."""

import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Request, Response
from serve import free_port
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


def test_one_request_resolves_and_one_gets_the_token(
    cloud: LocalCloud, front: Proxy
) -> None:
    """A token request costs two requests to the API."""
    get_token(f"http://{front.host}")
    cloud.requests.clear()
    get_token(f"http://{front.host}", ALIAS)
    paths = [request.path for request in cloud.requests]
    assert paths == ["/v7/release", "/auth/v1/token"]


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


def test_list_shows_the_alias(proxy: Proxy) -> None:
    """The list of tags of the real registry has the alias as name (R10)."""
    with logged_in(f"http://{proxy.host}", ALIAS) as session:
        url = f"http://{proxy.host}/v2/{ALIAS}/tags/list?n=1"
        answer = session.get(url, timeout=TIMEOUT)
        length = session.head(url, timeout=TIMEOUT).headers.get("Content-Length")
    assert answer.json() == {"name": ALIAS, "tags": ["latest"]}
    assert length in (None, answer.headers["Content-Length"])


def test_links_stay_on_the_proxy(cloud: LocalCloud, front: Proxy) -> None:
    """The link to more of a list names the alias, and no host (R10)."""
    token = get_token(f"http://{front.host}", ALIAS)
    assert cloud.registry is not None
    link = f'<{cloud.registry_url}/v2/{LOCATION}/tags/list?last=a&n=1>; rel="next"'
    cloud.registry.interpose = lambda _: Response(200, (("Link", link),), b"{}")
    answer = get(f"http://{front.host}/v2/{ALIAS}/tags/list?n=1", token=token)
    assert answer.headers["Link"] == f'</v2/{ALIAS}/tags/list?last=a&n=1>; rel="next"'


def test_error_of_the_registry_names_the_alias(proxy: Proxy) -> None:
    """The registry's own errors are kept, without the location (R2)."""
    missing = "sha256:" + "0" * 64
    with logged_in(f"http://{proxy.host}", ALIAS) as session:
        for kind in ("manifests", "blobs"):
            answer = session.get(
                f"http://{proxy.host}/v2/{ALIAS}/{kind}/{missing}", timeout=TIMEOUT
            )
            assert answer.status_code == 404
            assert answer.json()["errors"][0]["code"].endswith("_UNKNOWN")
            assert LOCATION.partition("/")[2] not in answer.text


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


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (LIMITED, 429, "TOOMANYREQUESTS"),
        (Response(500), 503, "UNAVAILABLE"),
        (Response(503), 503, "UNAVAILABLE"),
        (Response(200, (), b"<html>"), 503, "UNAVAILABLE"),
        (Response(200, (), b'{"d":[{}]}'), 503, "UNAVAILABLE"),
        (Response(301, (("Location", "http://evil.example/"),)), 503, "UNAVAILABLE"),
    ],
    ids=lambda value: value.status if isinstance(value, Response) else None,
)
def test_failure_of_the_api_is_said(
    cloud: LocalCloud, front: Proxy, failure: Response, status: int, code: str
) -> None:
    """A failed resolution is no refusal, and the client may try again (R13)."""
    get_token(f"http://{front.host}")
    cloud.api.interpose = lambda _: failure
    answer = get(f"http://{front.host}/auth/v1/token?scope=repository:{ALIAS}:pull")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert int(answer.headers["Retry-After"]) > 0


def test_slow_api_is_not_waited_for(cloud: LocalCloud, front: Proxy) -> None:
    """A token request is answered within balena_api_timeout, with 503 (R5)."""
    get_token(f"http://{front.host}")
    released = threading.Event()

    def hang(_: Request) -> None:
        released.wait(TIMEOUT)

    cloud.api.interpose = hang
    try:
        answer = get(f"http://{front.host}/auth/v1/token?scope=repository:{ALIAS}:pull")
        assert not released.is_set()
    finally:
        released.set()
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "within 2 seconds" in answer.json()["errors"][0]["message"]


def test_registry_that_is_gone() -> None:
    """The client gets 502 or 503 as an OCI error that names no address (R13)."""
    port = free_port()
    with Proxy(f"http://127.0.0.1:{port}") as proxy:
        for path in ("/v2/", "/auth/v1/token"):
            answer = get(f"http://{proxy.host}{path}")
            assert answer.status_code in (502, 503)
            assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
            assert str(port) not in answer.text


def test_images_of_another_registry_are_refused(cloud: LocalCloud) -> None:
    """A proxy before the wrong registry says so, and the log says why."""
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
