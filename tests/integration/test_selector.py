"""Every selector, through the proxy, with the requests that it costs the API.

The locations are those of the measured catalog.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Request, Response
from resolver.token.cache import REFUSAL_SECONDS, ResolutionCache
from resolver.token.claims import parse_token
from resolver.token.service import TokenService, parse_token_query
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Transport, Verification
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.resolver.fake import location_of

BROWSER = "balenablocks/browser-aarch64"
NEWEST_REVISION = "567e62d1e73529e7a31757ac1f3fb902"
FIRST_REVISION = "1491e71e5fce93aa53ff96e0d993b5ae"
SHARED = "32840df1cfeb3f3bd856fa0c1691190c"
RELEASES = ["/v7/release"]
APPLICATIONS = ["/v7/application"]

FOUND = {
    # S1: the target release, tracked or pinned.
    BROWSER: (NEWEST_REVISION, APPLICATIONS),
    f"{BROWSER}/latest": (NEWEST_REVISION, APPLICATIONS),
    f"{BROWSER}/current": (NEWEST_REVISION, APPLICATIONS),
    f"{BROWSER}/default": (NEWEST_REVISION, APPLICATIONS),
    "balenablocks/pinned-app": ("c94c117e5e15b559a011f53a01bf3a14", APPLICATIONS),
    "balenablocks/pinned-app/pinned": (
        "c94c117e5e15b559a011f53a01bf3a14",
        APPLICATIONS,
    ),
    "otherorg/tracker": ("c4b25908ae5a982e8faa2da9faf59b64", APPLICATIONS),
    # S2: the highest revision of a version.
    f"{BROWSER}/2.3.8": (NEWEST_REVISION, RELEASES),
    f"{BROWSER}/v2.3.8": (NEWEST_REVISION, RELEASES),
    f"{BROWSER}/2.3.7": ("27335e727ed3e899c9674b26c069a635", RELEASES),
    f"{BROWSER}/2.1.0": ("b95a1e8382cd2b02c704721592710535", RELEASES),
    f"{BROWSER}/1.8.0": ("b80dd7f015e235e8168e53622fea297d", RELEASES),
    f"{BROWSER}/2.9.0": ("7e2b9c174f62040a5d3b29f7ef23fe18", RELEASES),
    f"{BROWSER}/2.2.0": ("6113e3a87dcf1ce4192ae0e309f17714", RELEASES),
    # S3: a build part is exact.
    f"{BROWSER}/2.3.8_rev0": (FIRST_REVISION, RELEASES),
    f"{BROWSER}/2.3.8_rev1": ("afcf4e176ef8e94685a9ded8ce9c68b4", RELEASES),
    f"{BROWSER}/2.3.8_rev2": (NEWEST_REVISION, RELEASES),
    f"{BROWSER}/2.1.0_build.5": ("b95a1e8382cd2b02c704721592710535", RELEASES),
    f"{BROWSER}/1.8.0_dev": ("6333a4111d00eb8a5bbe39a5356e9ba9", RELEASES),
    # S4: drafts.
    f"{BROWSER}/2.4.1-1648554962021": ("d5b846215f5554738ff927036128e276", RELEASES),
    f"{BROWSER}/2.0.1-rc.1.1795452922763": (
        "c4ac8a7ad8fb21fa92f20c26ae6d8aa8",
        RELEASES,
    ),
    # S5: commits.
    f"{BROWSER}/11e1ee23d7ddf6ab6da99bac26c9d274": (FIRST_REVISION, RELEASES),
    f"{BROWSER}/11e1ee2": (FIRST_REVISION, RELEASES),
    f"{BROWSER}/a65921d1": ("d5b846215f5554738ff927036128e276", RELEASES),
    f"{BROWSER}/{'d' * 32}": ("27335e727ed3e899c9674b26c069a635", RELEASES),
    f"{BROWSER}/0123456789abcdef0123456789abcdef01234567": (None, RELEASES),
    f"{BROWSER}/0123456": (None, RELEASES),
    # S6: ranges.
    f"{BROWSER}/2.3": (NEWEST_REVISION, RELEASES),
    f"{BROWSER}/2.3.x": (NEWEST_REVISION, RELEASES),
    f"{BROWSER}/2": ("42a5403f721415ca8896ee84f840ba1b", RELEASES),
    f"{BROWSER}/v2.x": ("42a5403f721415ca8896ee84f840ba1b", RELEASES),
    f"{BROWSER}/1.6": (SHARED, RELEASES),
    f"{BROWSER}/1.8": ("b80dd7f015e235e8168e53622fea297d", RELEASES),
    # S8: image services, and an image of two releases.
    f"{BROWSER}/1.7.0/main": ("4b8b860df6f8e94c719b63c625450e8f", RELEASES),
    f"{BROWSER}/1.7.0/helper": ("5c3b79fc175eccf402eaf1f3e23cd692", RELEASES),
    f"{BROWSER}/2.3.8/main": (NEWEST_REVISION, RELEASES),
    f"{BROWSER}/2.9.2/helper": ("fc5c840d0671d3ecf05ecb53fbea4353", RELEASES),
    f"{BROWSER}/1.6.0": (SHARED, RELEASES),
    f"{BROWSER}/1.6.1": (SHARED, RELEASES),
    # S9: case.
    "balenablocks/mixedcase/2.0.0-rc1": (None, RELEASES),
}

REFUSED = {
    f"{BROWSER}/9.9.9": ("no release 9.9.9", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/2.4.1": ("no release 2.4.1", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/2.4": ("no release 2.4", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/2.2": ("no release 2.2", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/3": ("no release 3", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/3.0.0": ("no release 3.0.0", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/2.3.8_rev9": ("no release 2.3.8_rev9", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/fffffff": ("no release fffffff", [*RELEASES, *APPLICATIONS]),
    f"{BROWSER}/main": ("no release main", APPLICATIONS),
    f"{BROWSER}/1.7.0": ("several images: helper, main", RELEASES),
    f"{BROWSER}/1.7.0/web": ("no image service web", RELEASES),
    "balenablocks/empty-app": ("no target release", APPLICATIONS),
    "no/body": ("is private or does not exist", APPLICATIONS),
    "no/body/1.0.0": ("is private or does not exist", [*RELEASES, *APPLICATIONS]),
}


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it, which has asked the registry for its API."""
    with Proxy(cloud.registry_url) as running:
        get_token(f"http://{running.host}")
        yield running


def stored_at(cloud: LocalCloud, raw_version: str) -> str:
    """Return the location of a release with one image."""
    (release,) = (
        row["id"]
        for row in cloud.database.rows("release")
        if row["raw_version"] == raw_version
    )
    (image,) = (
        row["image"]
        for row in cloud.database.rows("release_image")
        if row["is_part_of__release"] == release
    )
    (location,) = (
        str(row["is_stored_at__image_location"])
        for row in cloud.database.rows("image")
        if row["id"] == image
    )
    return location.partition("/")[2]


def asked(cloud: LocalCloud) -> list[str]:
    """Return what the API was asked beside tokens, and forget it."""
    paths = [r.path for r in cloud.requests if r.path != "/auth/v1/token"]
    cloud.requests.clear()
    return paths


@pytest.mark.parametrize(("name", "expected"), FOUND.items(), ids=FOUND.keys())
def test_selector_finds_the_release_with_one_request(
    cloud: LocalCloud,
    front: Proxy,
    name: str,
    expected: tuple[str | None, list[str]],
) -> None:
    """Each kind of selector costs one request when cold, and none when warm."""
    location, requests = expected
    if location is None:
        location = stored_at(
            cloud, "2.0.0-RC1" if "mixedcase" in name else "2.3.6"
        ).partition("/")[2]
    cloud.requests.clear()
    for paths in (requests, []):
        token = parse_token(get_token(f"http://{front.host}", name))
        assert location_of(token, name) == f"v2/{location}"
        assert asked(cloud) == paths


@pytest.mark.parametrize(("name", "expected"), REFUSED.items(), ids=REFUSED.keys())
def test_refusal_says_what_would_work_with_one_request_more(
    cloud: LocalCloud, front: Proxy, name: str, expected: tuple[str, list[str]]
) -> None:
    """What is not found is explained by one more request, and then remembered."""
    message, requests = expected
    cloud.requests.clear()
    for paths in (requests, []):
        token = parse_token(get_token(f"http://{front.host}", name))
        assert message in token.aliases.refusals[name].message
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


def test_older_installation_is_asked_by_v6(cloud: LocalCloud) -> None:
    """Where the API has no v7 everything works by v6."""

    def only_v6(request: Request) -> Response | None:
        return Response(404) if request.path.startswith("/v7/") else None

    cloud.api.interpose = only_v6
    try:
        with Proxy(cloud.registry_url) as proxy:
            cloud.requests.clear()
            for version in ("2.3", "2.3.8"):
                get_token(f"http://{proxy.host}", f"{BROWSER}/{version}")
            assert asked(cloud) == ["/v7/release", "/v6/release", "/v6/release"]
    finally:
        cloud.api.interpose = None


def test_new_release_is_found_a_refusal_later() -> None:
    """A release made after a refusal can be pulled when that is forgotten."""
    now = 1000.0
    with LocalCloud() as cloud:
        transport = Transport(Verification())
        service = TokenService(
            Upstream(cloud.registry_url, None, transport),
            ResolutionCache(300, clock=lambda: now),
            timeout=10,
        )
        request = parse_token_query(f"scope=repository:{BROWSER}/7.0.0:pull", None)

        def refused() -> bool:
            return bool(asyncio.run(service.answer(request)).refusals)

        assert refused()
        cloud.add_release(BROWSER, "7.0.0")
        now += REFUSAL_SECONDS - 0.1
        assert refused()
        now += 0.2
        assert not refused()
        service.close()
        transport.close()


ABSURD = (
    st.text(min_size=1, max_size=300)
    | st.text("'\"%()$&;,=./_-+xv0123456789abcdef ", min_size=1, max_size=60)
    | st.from_regex(r"v?[0-9]{1,12}(\.[0-9]{1,25}){0,3}([_-][a-z0-9.]{1,40})?")
)


@given(ABSURD)
@example("2.3' or 1 eq 1 or raw_version eq '")
@example("2.3.8')/$count")
@example("..")
@example("99999999999999999999")
@example("2147483648.0.0")
@example("0" * 300)
@example("é")
@example("\0")
@example("%27%20or%201%20eq%201")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_absurd_selector_is_no_failure(
    cloud: LocalCloud, front: Proxy, text: str
) -> None:
    """Whatever stands for a version is refused as such, or found, and never 5xx."""
    name = quote(f"{BROWSER}/{text}", safe="", errors="surrogatepass")
    with plain_session() as session:
        scope = f"repository:{name}:pull"
        token = session.get(
            f"http://{front.host}/auth/v1/token?scope={scope}", timeout=TIMEOUT
        )
        assert token.status_code == 200
        answer = session.get(
            f"http://{front.host}/v2/{name}/manifests/latest",
            headers={"Authorization": f"Bearer {token.json()['token']}"},
            timeout=TIMEOUT,
        )
    assert answer.status_code < 500
    for request in cloud.requests:
        assert " " not in request.target
        assert request.target.count("'") % 2 == 0
