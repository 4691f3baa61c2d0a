"""Any registry is served under its own names: what clients get, and where logins go."""

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus, urlencode, urlsplit

import pytest
import requests

from demo.proxy import Proxy
from localcloud.image import Description, Image, build_image
from localcloud.server import Request, Response, Server
from registry_proxy.port import free_port
from resolver.grammar.challenge import RELAY_PATH, TOKEN_PATH, parse_challenge
from tests.integration import accel
from tests.integration.caching import kept
from tests.integration.registry import htpasswd, seed, serving
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.shape import (
    DOCKER_HUB,
    ECR,
    GHCR,
    GITLAB,
    HARBOR,
    NVCR,
    PASSWORD,
    PRIVATE,
    PUBLIC,
    QUAY,
    REFRESH,
    SHAPES,
    SIGNATURE,
    TAGS,
    Shape,
    StandIn,
    basic,
)
from tests.integration.tool import wait_until

ACCEPT = "application/vnd.oci.image.manifest.v1+json"
LOGIN = ("AWS", PASSWORD)
OWN_NAMES = {"NAMES": "registry"}
type Served = tuple[StandIn, Proxy]


@contextmanager
def fronted(
    shape: Shape, *arguments: str, **variables: str
) -> Iterator[tuple[StandIn, Proxy]]:
    """Run a stand-in of such a shape, and a proxy that serves it."""
    with StandIn(shape) as stand_in, of(stand_in.url, *arguments, **variables) as proxy:
        yield stand_in, proxy


@contextmanager
def of(url: str, *arguments: str, **variables: str) -> Iterator[Proxy]:
    """Run a proxy that serves the registry there with its own names."""
    environment = OWN_NAMES | variables
    with Proxy(url, environment=environment, arguments=arguments) as proxy:
        yield proxy


class Visitor:
    """An HTTP client that does what container clients do, with a login or without."""

    def __init__(
        self,
        proxy: Proxy,
        session: requests.Session,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.url = f"http://{proxy.host}"
        self._session = session
        self._login = login
        self._headers: Mapping[str, str] = {}

    def get(self, path: str, **headers: str) -> requests.Response:
        """Return the answer, after a challenge was met if there is one."""
        answer = self._get(path, headers)
        if answer.status_code != requests.codes.unauthorized:
            return answer
        header = answer.headers["WWW-Authenticate"]
        challenge = parse_challenge(header)
        if challenge is None:
            assert header.startswith("Basic ")
            if self._login is None:
                return answer
            self._headers = {"Authorization": basic(*self._login)}
            return self._get(path, headers)
        assert challenge.realm == self.url + RELAY_PATH
        token = self.token(challenge.scope or "", challenge.service)
        if not token.ok:
            return token
        self._headers = {"Authorization": f"Bearer {token.json()['token']}"}
        return self._get(path, headers)

    def token(self, scope: str, service: str | None = None) -> requests.Response:
        """Return what the token endpoint answers."""
        parameters = {"scope": scope, **({"service": service} if service else {})}
        return self._session.get(
            self.url + RELAY_PATH,
            params=parameters,
            auth=self._login,
            timeout=TIMEOUT,
        )

    def _get(self, path: str, headers: Mapping[str, str]) -> requests.Response:
        return self._session.get(
            self.url + path,
            headers={"Accept": ACCEPT, **headers, **self._headers},
            timeout=TIMEOUT,
        )

    def pull(self, name: str, digest: str) -> None:
        """Pull an image as a whole, by tag, and see that it is that one."""
        self.get("/v2/")
        manifest = self.get(f"/v2/{name}/manifests/latest")
        assert manifest.headers["Docker-Content-Digest"] == digest
        for blob in [manifest.json()["config"], *manifest.json()["layers"]]:
            answer = self.get(f"/v2/{name}/blobs/{blob['digest']}")
            assert len(answer.content) == blob["size"]


@contextmanager
def visiting(proxy: Proxy, login: tuple[str, str] | None = None) -> Iterator[Visitor]:
    """Return such a client."""
    with plain_session() as session:
        yield Visitor(proxy, session, login)


@pytest.fixture(scope="module", params=list(SHAPES.values()), ids=list(SHAPES))
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A registry of each shape, and its proxy."""
    with fronted(request.param) as running:
        yield running


def pull_all(stand_in: StandIn, proxy: Proxy) -> None:
    """Pull what is public, and what is not, and see where logins went."""
    if stand_in.shape.realm:
        with visiting(proxy) as anybody:
            anybody.pull(PUBLIC, stand_in.digest(PUBLIC))
    with visiting(proxy, LOGIN) as somebody:
        somebody.pull(PRIVATE, stand_in.digest(PRIVATE))
    logins = {each.header("Authorization") for each in stand_in.storage.requests}
    assert logins == {None}
    assert PASSWORD not in proxy.log
    assert SIGNATURE not in proxy.log


def test_each_shape(served: Served) -> None:
    """Whoever may pull from a registry of that shape pulls the same from the proxy."""
    pull_all(*served)


@pytest.mark.parametrize("name", ["ECR", "GHCR", "Quay"])
@pytest.mark.parametrize("passage", ["follow", "kept"])
def test_blobs_through_the_proxy(name: str, passage: str, tmp_path: Path) -> None:
    """The proxy gets and keeps blobs, whatever the logins and the redirects are."""
    way = {
        "follow": {"BLOBS": "follow", "BLOBS_ALLOW": "127.0.0.1"},
        "kept": {"CACHE": str(tmp_path / "cache"), "BLOBS_ALLOW": "127.0.0.1"},
    }[passage]
    with fronted(SHAPES[name], **way) as (stand_in, proxy):
        pull_all(stand_in, proxy)


def test_private_is_private(served: Served) -> None:
    """Who has no login, or a wrong one, gets what the registry itself answers."""
    stand_in, proxy = served
    path = f"/v2/{PRIVATE}/manifests/latest"
    with visiting(proxy) as anybody:
        assert anybody.get(path).status_code == requests.codes.unauthorized
    with visiting(proxy, ("u", "wrong")) as stranger:
        answer = stranger.get(path)
    assert answer.status_code == requests.codes.unauthorized
    if stand_in.shape.realm:
        assert answer.json() == {"details": "incorrect username or password"}


def test_lists(served: Served) -> None:
    """Tags and repositories come by the pages that the registry has."""
    stand_in, proxy = served
    with visiting(proxy, LOGIN) as somebody:
        path, tags = f"/v2/{PRIVATE}/tags/list", []
        for _ in TAGS:
            page = somebody.get(path)
            tags += page.json()["tags"]
            if link := page.links.get("next"):
                assert link["url"].startswith("/v2/")
                path = link["url"]
        assert tags == list(TAGS)
        catalog = somebody.get("/v2/_catalog?n=10&ns=made.up")
        if stand_in.shape is HARBOR:
            assert catalog.status_code == requests.codes.unauthorized
        else:
            assert catalog.json() == {"repositories": [PUBLIC, PRIVATE]}


def test_parameters_of_a_list_go_on() -> None:
    """They are the registry's own, but for the one by which containerd means us."""
    with fronted(QUAY) as (stand_in, proxy), visiting(proxy, LOGIN) as somebody:
        somebody.get("/v2/_catalog?n=10&ns=made.up&next_page=abc")
        somebody.get(f"/v2/{PRIVATE}/manifests/latest?ns=made.up")
        targets = [each.target for each in stand_in.registry.requests]
    assert "/v2/_catalog?n=10&next_page=abc" in targets
    assert f"/v2/{PRIVATE}/manifests/latest" in targets


def test_login_goes_on_as_it_is() -> None:
    """A registry that takes logins itself gets the client's, to the byte."""
    with fronted(ECR) as (stand_in, proxy), visiting(proxy, LOGIN) as somebody:
        somebody.pull(PRIVATE, stand_in.digest(PRIVATE))
        seen = {each.header("Authorization") for each in stand_in.registry.requests}
    assert seen == {None, basic(*LOGIN)}


def test_realm_is_asked_as_the_client_asked() -> None:
    """Every parameter and the login reach the realm, and nothing else does."""
    with (
        fronted(SHAPES["Artifactory"]) as (stand_in, proxy),
        plain_session() as session,
    ):
        answer = session.get(
            f"http://{proxy.host}{RELAY_PATH}",
            params={
                "account": "u",
                "client_id": "docker",
                "offline_token": "true",
                "scope": [f"repository:{PRIVATE}:pull", "registry:catalog:*"],
                "service": "docker",
            },
            headers={"X-Forwarded-For": "192.0.2.1", "Cookie": "a=b"},
            auth=LOGIN,
            timeout=TIMEOUT,
        )
        (asked,) = stand_in.token_requests
    assert answer.json()["refresh_token"] == REFRESH
    assert answer.headers["RateLimit-Limit"] == "100;w=21600"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Inside" not in answer.headers
    assert asked.target == (
        "/artifacts-auth/docker/jwt?host=made.up&account=u&client_id=docker"
        "&offline_token=true&scope=repository%3Ateam%2Fdeep%2Fdown%2Fapp%3Apull"
        "&scope=registry%3Acatalog%3A%2A&service=docker"
    )
    assert asked.header("Authorization") == basic(*LOGIN)
    assert not {"X-Forwarded-For", "Cookie"} & {name for name, _ in asked.headers}


@pytest.mark.parametrize(
    "login",
    [
        {"grant_type": "password", "username": "u", "password": PASSWORD},
        {"grant_type": "refresh_token", "refresh_token": REFRESH},
    ],
    ids=["password", "refresh_token"],
)
def test_forms(login: Mapping[str, str]) -> None:
    """A form of OAuth2 reaches the realm whole, and the tokens reach the client."""
    form = {
        **login,
        "client_id": "containerd-client",
        "access_type": "offline",
        "service": "registry.docker.io",
        "scope": f"repository:{PRIVATE}:pull",
    }
    with fronted(DOCKER_HUB) as (stand_in, proxy), plain_session() as session:
        url = f"http://{proxy.host}{TOKEN_PATH}"
        answer = session.post(url, data=form, timeout=TIMEOUT)
        wrong = session.post(
            url,
            data={**form, "password": "wrong", "refresh_token": "wrong"},
            timeout=TIMEOUT,
        )
        asked = stand_in.token_requests[0]
    assert answer.json()["access_token"] in stand_in.tokens
    assert answer.json()["refresh_token"] == REFRESH
    assert asked.body.decode() == urlencode(form)
    assert asked.query == ""
    assert wrong.status_code == requests.codes.unauthorized


def test_realm_is_learnt_where_the_base_is_open() -> None:
    """A replica that saw no challenge asks for the repository, and gets one."""
    with fronted(DOCKER_HUB) as (stand_in, proxy), visiting(proxy, LOGIN) as somebody:
        stand_in.registry.interpose = lambda request: (
            Response(200, (), b"{}") if request.path == "/v2/" else None
        )
        for _ in range(2):
            assert somebody.token(f"repository:{PRIVATE}:pull").ok
        asked = [each.path for each in stand_in.registry.requests]
    assert asked.count(f"/v2/{PRIVATE}/manifests/latest") == 1


def test_realm_for_bad_tokens_is_not_learnt() -> None:
    """Where a token that is over is sent to another realm, new ones come as before."""
    with fronted(NVCR) as (stand_in, proxy), visiting(proxy, LOGIN) as somebody:
        somebody.pull(PRIVATE, stand_in.digest(PRIVATE))
        stand_in.tokens.clear()
        somebody.pull(PRIVATE, stand_in.digest(PRIVATE))


def test_each_repository_has_its_realm() -> None:
    """What somebody else asks for leads no login to the realm of that (T14)."""
    with (
        fronted(DOCKER_HUB) as (stand_in, proxy),
        visiting(proxy, LOGIN) as somebody,
        visiting(proxy) as stranger,
        Server() as other,
    ):
        other.application = lambda _: Response(200, (), b'{"token": "x"}')
        for realm in (f"{other.url}/token", "http://tokens.example.com/token"):
            header = ("WWW-Authenticate", f'Bearer realm="{realm}",service="x"')
            stand_in.registry.interpose = lambda request, header=header: (
                Response(401, (header,)) if "/others/" in request.path else None
            )
            somebody.get("/v2/")
            stranger.get("/v2/others/app/manifests/latest")
            assert somebody.token(f"repository:{PRIVATE}:pull").ok
        assert all(each.header("Authorization") is None for each in other.requests)


def test_realm_that_is_the_proxy() -> None:
    """One request does not go round until all threads are taken."""
    with fronted(DOCKER_HUB) as (stand_in, proxy), visiting(proxy, LOGIN) as somebody:
        stand_in.realm = f"http://{proxy.host}{TOKEN_PATH}"
        somebody.get("/v2/")
        answer = somebody.token(f"repository:{PRIVATE}:pull")
        assert answer.status_code == requests.codes.bad_gateway
        assert "names this proxy itself" in answer.text


def test_no_realm() -> None:
    """Who asks for a token of a registry that has none is told so."""
    with fronted(ECR) as (_, proxy), visiting(proxy, LOGIN) as somebody:
        answer = somebody.token(f"repository:{PRIVATE}:pull")
    assert answer.status_code == requests.codes.not_found
    assert "asks for no token here" in answer.text


def refused(stand_in: StandIn, proxy: Proxy) -> str:
    """Return what somebody is told whose login may go nowhere, and see that it did."""
    with visiting(proxy, LOGIN) as somebody:
        answer = somebody.get(f"/v2/{PRIVATE}/manifests/latest")
    assert answer.status_code == requests.codes.bad_gateway
    assert all(
        each.header("Authorization") is None for each in stand_in.issuer.requests
    )
    message: str = answer.json()["errors"][0]["message"]
    assert PASSWORD not in proxy.log
    return message


def test_login_goes_to_no_foreign_realm() -> None:
    """A realm of another domain gets no login, unless the operator names it (T14)."""
    with fronted(DOCKER_HUB) as (stand_in, proxy):
        stand_in.realm = "http://tokens.example.com/token"
        assert "REALM_HOSTS=tokens.example.com" in refused(stand_in, proxy)


def test_named_realm_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever operates the proxy may name a realm of another domain."""
    monkeypatch.setenv("KNOWN_HOSTS", "tokens.test=127.0.0.1")
    script = str(Path(__file__).with_name("names.py"))
    with fronted(DOCKER_HUB, "-s", script, REALM_HOSTS="tokens.test") as (
        stand_in,
        proxy,
    ):
        stand_in.realm = stand_in.realm.replace("127.0.0.1", "tokens.test")
        with visiting(proxy, LOGIN) as somebody:
            somebody.pull(PRIVATE, stand_in.digest(PRIVATE))


def test_login_follows_no_redirect_of_the_realm() -> None:
    """A realm that redirects takes no login elsewhere, and the user is told (T14)."""
    with fronted(DOCKER_HUB) as (stand_in, proxy), Server() as elsewhere:
        place = ("Location", f"{elsewhere.url}/token")
        stand_in.issuer.interpose = lambda _: Response(307, (place,))
        with visiting(proxy, LOGIN) as somebody:
            answer = somebody.get(f"/v2/{PRIVATE}/manifests/latest")
        assert answer.status_code == requests.codes.bad_gateway
        assert f"redirects to {elsewhere.host}" in answer.text
        assert not elsewhere.requests


def test_senseless_token() -> None:
    """What is no token is not passed for one."""
    with fronted(DOCKER_HUB) as (stand_in, proxy), visiting(proxy, LOGIN) as somebody:
        for body in (b"<html>log in</html>", b"[]", b'{"token": 5}', b"\xff"):
            stand_in.issuer.interpose = lambda _, body=body: Response(200, (), body)
            answer = somebody.token(f"repository:{PRIVATE}:pull")
            assert answer.status_code == requests.codes.service_unavailable
            assert "without a token" in answer.text


AWKWARD = 'p@ss w0rd+/="q'


def repeated(request: Request) -> bytes:
    """Return a page of a realm that repeats what it was sent, in each form."""
    login = base64.b64decode((request.header("Authorization") or "").partition(" ")[2])
    sent = parse_qs(request.body.decode() or request.query)
    return json.dumps(
        [
            request.body.decode(),
            request.query,
            login.decode(),
            sent,
            list(sent.values()),
        ]
    ).encode()


def test_saved_flows_have_no_secrets(tmp_path: Path) -> None:
    """Neither logins nor tokens of a registry are in what is saved (R15)."""
    path, scope = tmp_path / "flows", f"repository:{PRIVATE}:pull"
    form = {"grant_type": "password", "username": "u", "access_type": "offline"}
    again = {"grant_type": "refresh_token", "refresh_token": REFRESH}
    with fronted(GITLAB, "-w", str(path)) as (stand_in, proxy):
        url = f"http://{proxy.host}{RELAY_PATH}"
        with visiting(proxy, LOGIN) as somebody, plain_session() as session:
            somebody.pull(PRIVATE, stand_in.digest(PRIVATE))
            for each in ({**form, "password": PASSWORD}, again):
                answer = session.post(url, {**each, "scope": scope}, timeout=TIMEOUT)
                assert answer.json()["token"] in stand_in.tokens
            stand_in.issuer.interpose = lambda request: Response(403, (), request.body)
            echo = session.post(url, {**again, "scope": scope}, timeout=TIMEOUT)
            assert REFRESH in echo.text
            stand_in.issuer.interpose = lambda request: Response(
                403, (), repeated(request)
            )
            proof = {"grant_type": "x", "client_secret": AWKWARD, "code": AWKWARD}
            session.auth = ("u", AWKWARD)
            for echo in (
                session.post(url, {**proof, "scope": scope}, timeout=TIMEOUT),
                session.get(url, params={**proof, "scope": scope}, timeout=TIMEOUT),
            ):
                # The client gets it as it is.
                assert json.dumps(AWKWARD)[1:-1] in echo.text
                assert quote_plus(AWKWARD) in echo.text
            location = ("Location", f"http://u:{PASSWORD}@127.0.0.1/?sig={SIGNATURE}")
            inner = ("X-Inside", PASSWORD)
            stand_in.issuer.interpose = lambda _: Response(307, (location, inner))
            moved = session.get(url, params={"scope": scope}, timeout=TIMEOUT)
            assert moved.status_code == requests.codes.bad_gateway
        tokens = list(stand_in.tokens)
    saved = path.read_bytes().decode(errors="replace")
    assert "token for team/deep/down/app" in saved
    assert "asked 127.0.0.1 for a token" in saved
    spelt = (AWKWARD, quote(AWKWARD), quote_plus(AWKWARD), json.dumps(AWKWARD))
    for spelling in spelt:
        assert spelling.strip('"') not in saved
    secrets = (PASSWORD, REFRESH, SIGNATURE, basic(*LOGIN).partition(" ")[2])
    for secret in (*secrets, *(token.rpartition(".")[2] for token in tokens)):
        assert secret not in saved


def test_limit_of_the_realm() -> None:
    """A 429 of the realm comes back as it is, with the time to wait."""
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
    limited = Response(429, (("Retry-After", "30"),), body)
    with fronted(GHCR) as (stand_in, proxy), visiting(proxy) as anybody:
        stand_in.registry.interpose = lambda request: (
            limited if request.path == "/token" else None
        )
        answer = anybody.get(f"/v2/{PUBLIC}/manifests/latest")
    assert (answer.status_code, answer.content) == (429, body)
    assert answer.headers["Retry-After"] == "30"


def test_nothing_is_pushed() -> None:
    """A push is refused in a sentence that says where to push."""
    with fronted(GHCR) as (stand_in, proxy), plain_session() as session:
        url = f"http://{proxy.host}/v2/{PUBLIC}/blobs/uploads/"
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = session.request(method, url, timeout=TIMEOUT)
            assert answer.status_code == requests.codes.method_not_allowed
            message = answer.json()["errors"][0]["message"]
            assert f"push to the registry {stand_in.registry.host} itself" in message
        assert {each.method for each in stand_in.registry.requests} <= {"GET"}


def test_ready_knows_no_api() -> None:
    """The health check is about the registry alone, and the log names no other."""
    with fronted(GHCR) as (stand_in, proxy), plain_session() as session:
        ready = session.get(f"http://{proxy.host}/ready", timeout=TIMEOUT)
        assert set(ready.json()) == {"ready", "registry"}
        assert ready.ok
        start = f"the registry {stand_in.url} is served at"
        assert start in proxy.log
        assert "API" not in proxy.log
        assert "release" not in proxy.log


def test_token_server_that_does_not_answer() -> None:
    """It is named, and not the registry."""
    over = threading.Event()
    options = ("--set", "balena_api_timeout=1")
    with fronted(DOCKER_HUB, *options, LOG_FORMAT="json") as (stand_in, proxy):

        def hang(_: Request) -> None:
            over.wait(TIMEOUT)

        stand_in.issuer.interpose = hang
        with visiting(proxy) as anybody:
            answer = anybody.get(f"/v2/{PUBLIC}/manifests/latest")
        over.set()
        assert answer.status_code == requests.codes.service_unavailable
        host = urlsplit(stand_in.realm).netloc
        said = f"the token server {host} does not answer within 1 seconds"
        wait_until(lambda: said in proxy.log, "it is named")


@pytest.mark.parametrize(
    "token",
    ["opaque-token-0123456789", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"],
)
def test_token_that_an_error_repeats(tmp_path: Path, token: str) -> None:
    """The client is told what the registry says; log and saved flows hide the token."""

    def answer(request: Request) -> Response:
        said = dict(request.headers).get("Authorization", "")
        error = {"code": "DENIED", "message": f"nothing for {said}"}
        body = json.dumps({"errors": [error]}).encode()
        return Response(403, (("Content-Type", "application/json"),), body)

    path, headers = tmp_path / "flows", {"Authorization": f"Bearer {token}"}
    with Server() as registry, plain_session() as session:
        registry.application = answer
        arguments = ("-w", str(path), "--set", "termlog_verbosity=debug")
        with of(registry.url, *arguments, LOG_FORMAT="json") as proxy:
            url = f"http://{proxy.host}/v2/{PRIVATE}/manifests/latest"
            said = session.get(url, headers=headers, timeout=TIMEOUT).text
            wait_until(lambda: "nothing for" in proxy.log, "it is logged")
            log = proxy.log
    assert token in said
    secret = token.rpartition(".")[2]
    assert secret.encode() not in path.read_bytes()
    assert secret not in log


def test_proxies_in_a_chain() -> None:
    """One serves what another one serves, and nobody takes that for a loop."""
    with (
        StandIn(DOCKER_HUB) as stand_in,
        of(stand_in.url) as behind,
        of(f"http://{behind.host}") as front,
        visiting(front) as visitor,
    ):
        visitor.pull(PUBLIC, stand_in.digest(PUBLIC))


def test_proxies_that_lead_to_one_another() -> None:
    """A request goes round once, and the client is told."""
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with (
        of(urls[1], PROXY_PORT=str(ports[0])) as one,
        of(urls[0], PROXY_PORT=str(ports[1])) as other,
        plain_session() as session,
    ):
        answer = session.get(f"{urls[0]}/v2/", timeout=TIMEOUT)
        assert answer.status_code == 508
        wait_until(lambda: "leads to this proxy itself" in one.log, "it is named")
        asked = one.log.count("GET /v2/") + other.log.count("GET /v2/")
        assert asked < 20


# The rest is about a real registry.
NAME = "some/where/deep/app"


def real_image() -> Image:
    """Return what is in that registry."""
    about = Description(NAME, NAME, "1.0", "main", ("amd64", "arm64"), is_oci=True)
    return build_image(about)


@pytest.mark.parametrize("has_login", [False, True], ids=["open", "htpasswd"])
def test_cache_asks_with_the_login_there_is(tmp_path: Path, *, has_login: bool) -> None:
    """What is kept goes to whom the registry gives it, with a login or without (C2)."""
    image, port = real_image(), free_port()
    seed([image], tmp_path)
    config = htpasswd(tmp_path, *LOGIN) if has_login else {}
    cache = tmp_path / "cache"
    with (
        serving(tmp_path, port, config),
        of(f"http://localhost:{port}", CACHE=str(cache)) as proxy,
    ):
        digest = image.blobs[0].digest
        path = f"/v2/{NAME}/blobs/{digest}"
        with visiting(proxy, LOGIN if has_login else None) as somebody:
            manifest = image.manifests[0].digest
            assert somebody.get(f"/v2/{NAME}/manifests/{manifest}").ok
            assert somebody.get(path).content == image.blobs[0].content
            assert kept(cache, digest).exists()
            assert somebody.get(path).content == image.blobs[0].content
        with visiting(proxy) as anybody:
            assert anybody.get(path).ok is not has_login
        with visiting(proxy, ("u", "wrong")) as stranger:
            assert stranger.get(path).ok is not has_login
        assert "from the cache" in proxy.log


@pytest.mark.parametrize("has_login", [False, True], ids=["open", "htpasswd"])
def test_nginx_keeps_for_whom_the_registry_gives(
    tmp_path: Path, *, has_login: bool
) -> None:
    """Nginx sends a blob to whom the registry gives it, and fetches it once."""
    image, port = real_image(), free_port()
    seed([image], tmp_path)
    config = htpasswd(tmp_path, *LOGIN) if has_login else {}
    blob = image.blobs[0]
    path = f"/v2/{NAME}/blobs/{blob.digest}"
    with (
        serving(tmp_path, port, config),
        accel.caching(
            f"http://localhost:{port}", tmp_path / "n", NAMES="registry"
        ) as front,
        plain_session() as session,
    ):
        for login, is_known in ((LOGIN, True), (("u", "wrong"), False), (None, False)):
            answer = session.get(front.url + path, auth=login, timeout=TIMEOUT)
            if is_known or not has_login:
                assert answer.content == blob.content
            else:
                assert answer.status_code == requests.codes.unauthorized
        assert len(front.fetches) == 1
        assert PASSWORD not in front.log
