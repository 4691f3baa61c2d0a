"""Every selector, through the proxy, with the requests that it costs the API.

What is said of those that find nothing, `tests/golden` has.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from resolver.token.claims import parse_token
from tests.integration.session import TIMEOUT, get_token, logged_in
from tests.resolver.fake import ident, location_of

BROWSER = "balenablocks/browser-aarch64"
RELEASES = ["/v7/release"]
APPLICATIONS = ["/v7/application"]
EXPLAINED = [*RELEASES, *APPLICATIONS]

# Where each is stored, in short; `tests/golden` has more of them.
FOUND = {
    # S1: the target release, tracked or pinned.
    BROWSER: ("567e", APPLICATIONS),
    "balenablocks/pinned-app/pinned": ("c94c", APPLICATIONS),
    # S2: the highest revision of a version.
    f"{BROWSER}/2.3.7": ("2733", RELEASES),
    f"{BROWSER}/2.1.0": ("b95a", RELEASES),
    f"{BROWSER}/2.2.0": ("6113", RELEASES),
    # S3: a build part is exact.
    f"{BROWSER}/2.3.8_rev0": ("1491", RELEASES),
    f"{BROWSER}/1.8.0_dev": ("6333", RELEASES),
    # S4: drafts.
    f"{BROWSER}/2.0.1-rc.1.1795452922763": ("c4ac", RELEASES),
    # S5: commits.
    f"{BROWSER}/11e1ee23d7ddf6ab6da99bac26c9d274": ("1491", RELEASES),
    f"{BROWSER}/0123456789abcdef0123456789abcdef01234567": ("738b", RELEASES),
    # S6: ranges.
    f"{BROWSER}/1.6": ("3284", RELEASES),
    # S8: image services, and an image of two releases.
    f"{BROWSER}/1.7.0/helper": ("5c3b", RELEASES),
    f"{BROWSER}/1.6.0": ("3284", RELEASES),
    f"{BROWSER}/1.6.1": ("3284", RELEASES),
}
REFUSED = {
    f"{BROWSER}/9.9.9": [*EXPLAINED, *RELEASES],
    f"{BROWSER}/2.4": [*EXPLAINED, *RELEASES],
    f"{BROWSER}/2.3.8_rev9": [*EXPLAINED, *RELEASES],
    f"{BROWSER}/fffffff": [*EXPLAINED, *RELEASES],
    "no/body/1.0.0": EXPLAINED,
    f"{BROWSER}/main": APPLICATIONS,
    "balenablocks/empty-app": APPLICATIONS,
    "no/body": APPLICATIONS,
    f"{BROWSER}/1.7.0": RELEASES,
    f"{BROWSER}/1.7.0/web": RELEASES,
}


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it, which has asked the registry for its API."""
    with Proxy(cloud.registry_url) as running:
        get_token(f"http://{running.host}")
        yield running


def asked(cloud: LocalCloud) -> list[str]:
    """Return what the API was asked beside tokens, and forget it."""
    paths = [r.path for r in cloud.requests if r.path != "/auth/v1/token"]
    cloud.requests.clear()
    return paths


@pytest.mark.parametrize("name", FOUND)
def test_release_is_found_with_one_request(
    cloud: LocalCloud, front: Proxy, name: str
) -> None:
    """Each kind of selector costs one request when cold, and none when warm."""
    location, requests = FOUND[name]
    cloud.requests.clear()
    for paths in (requests, []):
        found = location_of(get_token(f"http://{front.host}", name), name)
        assert str(found).startswith(f"v2/{location}")
        assert asked(cloud) == paths


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_is_explained_with_two_requests_more(
    cloud: LocalCloud, front: Proxy, name: str
) -> None:
    """One more says what there is, another why the rest is not pulled; once for all."""
    cloud.requests.clear()
    for paths in (REFUSED[name], []):
        token = parse_token(get_token(f"http://{front.host}", name))
        assert name in token.aliases.refusals
        assert asked(cloud) == paths


def test_concurrent_pulls_share_one_request(cloud: LocalCloud, front: Proxy) -> None:
    """200 cold token requests for one name look it up once."""
    name = "otherorg/tracker/5"
    cloud.requests.clear()
    with ThreadPoolExecutor(200) as clients:
        url = f"http://{front.host}"
        tokens = list(clients.map(lambda _: get_token(url, name), range(200)))
    assert len({location_of(t, name) for t in tokens}) == 1
    assert asked(cloud) == RELEASES


@pytest.mark.parametrize(
    "text",
    [
        *("2.3' or 1 eq 1 or raw_version eq '", "2.3.8')/$count", "..", "\0"),
        *("2147483648.0.0", "0" * 300, "%27%20or%201%20eq%201", "a/b&c=d;e"),
    ],
    ids=ident,
)
def test_absurd_selector_is_no_failure(
    cloud: LocalCloud, front: Proxy, text: str
) -> None:
    """Whatever stands for a version is refused as such, or found, and never 5xx."""
    url, name = f"http://{front.host}", quote(f"{BROWSER}/{text}", safe="")
    with logged_in(url, name) as session:
        answer = session.get(f"{url}/v2/{name}/manifests/latest", timeout=TIMEOUT)
    assert answer.status_code < 500
    for request in cloud.requests:
        assert " " not in request.target
        assert request.target.count("'") % 2 == 0
