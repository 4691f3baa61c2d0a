"""No key and no token in whatever is had from mitmproxy, at any moment (rule R15)."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import requests
from mitmproxy.io import FlowReader

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.account import KEYS, SESSION
from localcloud.relay import Failure, Fault, Relay
from pull.client import Client
from pull.login import nobody, with_key
from pull.reference import parse_reference
from registry_proxy import serve
from tests.authority import Authority
from tests.integration.fault import ALIAS, IN_BLOB, MANIFEST, port_of
from tests.integration.mitmweb import Mitmweb
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.storage import nginx
from tests.integration.tool import find_tool, run, wait_until
from tests.integration.watched import (
    SCOPE,
    STREAMED,
    UNDER_WAY,
    WAITING,
    Watched,
    ask_with_basic,
    ask_with_bearer,
    ask_with_form,
    basic,
    exposed,
    manifest,
    secrets_of,
    signature_of,
    thinking,
    watching,
)

WARNING = "balena_show_secrets is on"


@pytest.fixture(scope="module")
def running(
    cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A proxy with mitmweb."""
    with watching(cloud, tmp_path_factory.mktemp("mitmweb")) as made:
        yield made


@pytest.fixture
def watched(running: Watched) -> Iterator[Watched]:
    """The proxy without flows, and with its options as they were at the start."""
    running.web.clear()
    yield running
    running.registry.mend()
    running.cloud.api.interpose = None
    running.web.set(intercept="", balena_show_secrets=False)


@pytest.mark.parametrize(
    ("ask", "key"),
    [
        pytest.param(ask_with_basic, KEYS["carol"], id="basic"),
        pytest.param(ask_with_form, KEYS["carol"], id="form"),
        pytest.param(ask_with_bearer, KEYS["carol"], id="bearer"),
        pytest.param(ask_with_bearer, SESSION, id="session"),
    ],
)
def test_nothing_while_the_token_is_waited_for(
    watched: Watched, ask: Callable[[str, str], requests.Response], key: str
) -> None:
    """The login is in no flow, and nor is the token; of a session's nothing is."""
    with thinking(watched.cloud, lambda: ask(watched.url, key)) as client:
        watched.web.find(WAITING)
        during = watched.everything()
    token = client.result().json()["token"]
    assert manifest(watched.url, token).status_code == 200
    secrets = secrets_of(key, token) | set(SESSION.split(".")[1:])
    assert exposed(during, secrets) == []
    after = watched.everything()
    assert exposed(after, secrets) == []
    assert token.rpartition(".")[0] in after["/flows/dump"]


def show_again(web: Mitmweb, flow: str) -> None:
    """Write back what is shown of the request, as an editor does."""
    (shown,) = (one for one in web.flows() if one["id"] == flow)
    edited = {"request": {"headers": [*shown["request"]["headers"], ["X-A", "b"]]}}
    web.act(f"/flows/{flow}", "PUT", json=edited)


def comment_and_revert(web: Mitmweb, flow: str) -> None:
    """Edit the flow, and take it back."""
    web.act(f"/flows/{flow}", "PUT", json={"comment": "edited"})
    web.act(f"/flows/{flow}/revert")


EDITS: dict[str, Callable[[Mitmweb, str], None]] = {
    "edited": show_again,
    "reverted": comment_and_revert,
    "duplicated": lambda web, flow: web.act(f"/flows/{flow}/duplicate"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_pull_goes_on_where_its_flow_was(watched: Watched, edit: str) -> None:
    """Whoever holds up, edits or reverts a flow sees no token, and breaks no pull."""
    watched.web.set(intercept="~u /auth/v1/token | ~u manifests")

    def pull() -> tuple[str, int]:
        token = get_token(watched.url, ALIAS, key=watched.key)
        return token, manifest(watched.url, token).status_code

    had: list[dict[str, str]] = []
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(pull)
        # Before it is sent and before it is answered, of the token and the manifest.
        for _ in range(4):
            (flow,) = watched.web.intercepted()
            EDITS[edit](watched.web, flow)
            had.append(watched.everything())
            watched.web.act("/flows/resume")
        token, status = client.result()
    assert status == 200
    secrets = secrets_of(watched.key, token)
    assert [exposed(one, secrets) for one in had] == [[], [], [], []]


def test_killed_and_replayed_flows_have_nothing(watched: Watched) -> None:
    """Neither what is killed while the API thinks, nor what is sent once more, has."""
    ask = partial(ask_with_basic, watched.url, watched.key)
    with thinking(watched.cloud, ask) as client:
        watched.web.act(f"/flows/{watched.web.find(WAITING)}/kill")
    assert isinstance(client.exception(), requests.ConnectionError)
    token = get_token(watched.url, ALIAS, key=watched.key)
    manifest(watched.url, token)
    for flow in watched.web.flows():
        watched.web.act(f"/flows/{flow['id']}/replay")
    wait_until(lambda: watched.web.command("replay.client.count") == 0, "the replays")
    assert any(flow["is_replay"] for flow in watched.web.flows())
    assert exposed(watched.everything(), secrets_of(watched.key, token)) == []


def test_no_token_by_tls_and_http2(cloud: LocalCloud, tmp_path: Path) -> None:
    """Nor is one in flows of HTTP/2 on either side; and the pull is right."""
    authority = Authority("private authority")
    file = authority.write_file(tmp_path / "authority.pem")
    certificate = authority.server_file(tmp_path)
    curl: tuple[str | Path, ...] = (
        *(find_tool("curl"), "--disable", "--silent", "--show-error", "--fail"),
        *("--noproxy", "*", "--cacert", serve.confdir({}) / "mitmproxy-ca-cert.pem"),
        *("--max-time", str(TIMEOUT), "--http2", "--write-out", "%{http_version}"),
    )
    with (
        nginx(
            tmp_path,
            f"location / {{ proxy_pass {cloud.registry_url}; }}",
            tls=certificate,
        ) as port,
        watching(
            cloud,
            tmp_path,
            *("--set", f"ssl_verify_upstream_trusted_ca={file}"),
            target=f"https://localhost:{port}",
            TLS="authority",
        ) as watched,
    ):
        watched.web.set(http2=True)

        def get(path: str, *arguments: str) -> bytes:
            output = tmp_path / "answer"
            url = f"https://{watched.proxy.host}{path}"
            command = (*curl, "--output", output, *arguments, url)
            assert run(*command, environment={"LC_ALL": "C.UTF-8"}) == "2"
            return output.read_bytes()

        key = watched.key
        path = f"/auth/v1/token?scope={SCOPE}&apikey={key}"
        token = json.loads(get(path, "--user", f"u:{key}"))["token"]
        headers = (f"Authorization: Bearer {token}", f"Accept: {MANIFEST}")
        login = [word for header in headers for word in ("--header", header)]
        described = json.loads(get(f"/v2/{ALIAS}/manifests/latest", *login))
        digest = described["layers"][-1]["digest"]
        watched.registry.fail(Fault(Failure.STALL, length=UNDER_WAY))
        with ThreadPoolExecutor(1) as pool:
            client = pool.submit(get, f"/v2/{ALIAS}/blobs/{digest}", *login)
            watched.web.find(STREAMED)
            during = watched.everything()
            watched.registry.mend()
        assert f"sha256:{hashlib.sha256(client.result()).hexdigest()}" == digest
        for had in (during, watched.everything()):
            assert exposed(had, secrets_of(key, token)) == []
        connections = [flow["server_conn"] for flow in watched.web.flows()]
    assert {each["alpn"] for each in connections if each["tls_established"]} == {"h2"}


def test_saved_flows_have_nothing(cloud: LocalCloud, tmp_path: Path) -> None:
    """File and HAR of a proxy that ended in the middle are whole, without a secret."""
    key = cloud.keys["carol"]
    saved, har = tmp_path / "flows", tmp_path / "flows.har"
    arguments = ("-w", str(saved), "--set", f"hardump={har}")
    with (
        Relay(port_of(cloud.registry_url)) as registry,
        Proxy(
            f"http://127.0.0.1:{registry.port}",
            arguments=arguments,
            environment={"API_URL": cloud.api_url},
        ) as proxy,
        plain_session() as session,
    ):
        url = f"http://{proxy.host}"
        token = ask_with_basic(url, key).json()["token"]
        digest = manifest(url, token).json()["layers"][-1]["digest"]
        registry.fail(Fault(Failure.STALL, IN_BLOB, UNDER_WAY))
        session.headers["Authorization"] = f"Bearer {token}"
        path = f"{url}/v2/{ALIAS}/blobs/{digest}"
        with (
            session.get(path, stream=True, timeout=TIMEOUT) as streamed,
            thinking(cloud, lambda: ask_with_form(url, key)) as client,
        ):
            assert next(streamed.iter_content(1))
            proxy.process.terminate()
            proxy.process.wait(TIMEOUT)
        assert isinstance(client.exception(), requests.ConnectionError)
        had = {"the log": proxy.log, "the HAR": har.read_text()}
    with saved.open("rb") as file:
        assert len(list(FlowReader(file).stream())) > 4
    had["the file"] = saved.read_bytes().decode("latin-1")
    assert json.loads(had["the HAR"])["log"]["entries"]
    assert token.rpartition(".")[0] in had["the file"]
    assert exposed(had, secrets_of(key, token)) == []


def test_option_shows_everything(watched: Watched) -> None:
    """Key and token are wherever one looks while it is on, and the log warns."""
    web, key, url = watched.web, watched.key, watched.url
    web.set(balena_show_secrets=True)
    assert watched.proxy.log.count(WARNING) == 1
    find = with_key(key) if key else nobody
    reference = parse_reference(f"{url}/{ALIAS}")
    assert Client(lambda _: None, find_login=find).pull(reference) > 1_000_000
    web.clear()
    token = ask_with_form(url, key).json()["token"]
    assert manifest(url, token).status_code == 200
    ask_with_basic(url, key)
    had = watched.everything()
    login, signature = basic(key).split()[1], signature_of(token)
    for one in (key, login, token, signature):
        ways = set(exposed(had, {one}))
        assert {"/flows/dump", "save.file @all", "save.har @all"} <= ways
        assert not {"the log", "/events"} & ways
    # The key alone is what the proxy itself asks the API with.
    for one in (login, key):
        assert "cut.save @all request.header[authorization]" in exposed(had, {one})
    for form in ("curl", "httpie", "raw", "raw_request"):
        assert any(f"export.file {form} " in way for way in exposed(had, {login}))
    web.clear()
    with thinking(watched.cloud, partial(ask_with_form, url, key)) as client:
        web.find(WAITING)
        web.set(balena_show_secrets=False)
    secrets = secrets_of(key, client.result().json()["token"])
    assert exposed(watched.everything(), secrets) == []
    assert watched.proxy.log.count(WARNING) == 1
