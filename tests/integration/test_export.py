"""No key and no token in whatever is had from mitmproxy, at any moment (rule R15)."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from mitmproxy.io import FlowReader

from demo.client import Client
from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.account import KEYS, SESSION
from localcloud.relay import Failure, Fault, Relay
from mitm.story.record import KEY, OwnKind
from tests.integration.fault import ALIAS, IN_BLOB
from tests.integration.mitmweb import Mitmweb, mitmweb
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import wait_until
from tests.integration.watched import (
    STREAMED,
    UNDER_WAY,
    WAITING,
    Watched,
    ask_with_basic,
    ask_with_bearer,
    ask_with_form,
    basic,
    blob,
    exposed,
    manifest,
    meanwhile,
    secrets_of,
    signature_of,
    thinking,
)

WARNING = "balena_show_secrets is on"


@pytest.fixture(scope="module")
def running(
    cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A proxy with mitmweb."""
    folder = tmp_path_factory.mktemp("mitmweb")
    with (
        Relay(urlsplit(cloud.registry_url).port or 0) as registry,
        mitmweb(
            f"http://127.0.0.1:{registry.port}",
            folder,
            *("--set", "balena_cache_ttl=0"),
            environment={"API_URL": cloud.api_url},
        ) as (proxy, web),
    ):
        yield Watched(cloud, registry, proxy, web)


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


def test_nothing_in_the_middle_of_a_blob(watched: Watched) -> None:
    """A blob may take minutes: the token was sent, and is not in the flow."""
    token = get_token(watched.url, ALIAS, key=watched.key)
    watched.registry.fail(Fault(Failure.STALL, IN_BLOB, UNDER_WAY))
    with meanwhile(lambda: blob(watched.url, token)) as client:
        watched.web.find(STREAMED)
        during = watched.everything()
        found = [
            watched.web.command("cut", f'~hq "{text}"', "request.method")
            for text in ("Bearer ey", signature_of(token)[:6])
        ]
        watched.registry.mend()
        wanted, pulled = client.result()
    assert exposed(during, secrets_of(watched.key, token)) == []
    # Else the token could be guessed by filters, letter by letter.
    assert found == [[["GET"], ["GET"]], []]
    assert pulled == wanted


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
    with meanwhile(pull) as client:
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


def test_saved_flows_have_nothing(cloud: LocalCloud, tmp_path: Path) -> None:
    """File and HAR of a proxy that ended in the middle are whole, without a secret."""
    key = cloud.keys["carol"]
    saved, har = tmp_path / "flows", tmp_path / "flows.har"
    arguments = ("-w", str(saved), "--set", f"hardump={har}")
    with (
        Relay(urlsplit(cloud.registry_url).port or 0) as registry,
        Proxy(
            f"http://127.0.0.1:{registry.port}",
            arguments=arguments,
            environment={"API_URL": cloud.api_url},
        ) as proxy,
    ):
        url = f"http://{proxy.host}"
        answer = ask_with_basic(url, key)
        token = answer.json()["token"]
        digest = manifest(url, token).json()["layers"][-1]["digest"]
        registry.fail(Fault(Failure.STALL, IN_BLOB, UNDER_WAY))
        with plain_session() as session:
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
        log = proxy.log
    with saved.open("rb") as file:
        flows = list(FlowReader(file).stream())
    records = [flow.metadata[KEY] for flow in flows if flow.metadata]
    kinds = {record["kind"] for record in records}
    assert kinds >= {"token", "manifest", "blob", OwnKind.GRANT, OwnKind.RESOLUTION}
    assert len(answer.content) in [record.get("bytes") for record in records]
    had = {
        "the file": saved.read_bytes().decode("latin-1"),
        "the HAR": har.read_text(),
        "the log": log,
    }
    assert json.loads(had["the HAR"])["log"]["entries"]
    assert token.rpartition(".")[0] in had["the file"]
    assert exposed(had, secrets_of(key, token)) == []


def test_option_that_is_switched_on_is_told(watched: Watched) -> None:
    """The log warns at once; what came while it was on is not shown after it."""
    before = watched.proxy.log.count(WARNING)
    watched.web.set(balena_show_secrets=True)
    assert watched.proxy.log.count(WARNING) == before + 1
    ask = partial(ask_with_form, watched.url, watched.key)
    with thinking(watched.cloud, ask) as client:
        watched.web.find(WAITING)
        during = watched.everything()
        watched.web.set(balena_show_secrets=False)
    secrets = secrets_of(watched.key, client.result().json()["token"])
    assert exposed(during, secrets)
    assert exposed(watched.everything(), secrets) == []
    assert watched.proxy.log.count(WARNING) == before + 1


def test_option_shows_everything(cloud: LocalCloud, tmp_path: Path) -> None:
    """Key and token are wherever one looks, the log says so, and pulls are right."""
    show = ("--set", "balena_show_secrets=true", "--set", "balena_cache_ttl=0")
    with mitmweb(cloud.registry_url, tmp_path, *show) as (proxy, web):
        assert WARNING in proxy.log
        url, key = f"http://{proxy.host}", cloud.keys["carol"]
        assert Client(url, lambda _: None, key).pull(ALIAS) > 1_000_000
        web.clear()
        token = ask_with_form(url, key).json()["token"]
        assert manifest(url, token).status_code == 200
        ask_with_basic(url, key)
        had = {**web.everything(), "the log": proxy.log}
    login, signature = basic(key).split()[1], signature_of(token)
    ways = ("/flows/dump", "save.file @all", "save.har @all")
    for one in (key, login, token, signature):
        assert set(ways) <= set(exposed(had, {one}))
    # The key alone is what the proxy itself asks the API with.
    for one in (login, key):
        assert "cut.save @all request.header[authorization]" in exposed(had, {one})
    for name, one in (("request", key), ("response", token)):
        assert f"cut.save @all {name}.raw_content" in exposed(had, {one})
    for form in ("curl", "httpie", "raw", "raw_request"):
        assert any(f"export.file {form} " in way for way in exposed(had, {login}))
    assert not set(exposed(had, {key, login, token, signature})) & {
        "the log",
        "/events",
    }
