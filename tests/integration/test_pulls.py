"""The page of pulls beside a proxy that serves, and in mitmweb."""

import re
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy, StartError
from localcloud import LocalCloud
from pull.client import Client
from pull.reference import parse_reference
from registry_proxy.port import free_port
from tests.integration.mitmweb import mitmweb
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import wait_for_start, wait_until

ALIAS = "balenablocks/browser-aarch64/2.3"
SHOWN = re.compile(r"pulls are shown at (http://\S+/pulls)(?:\?token=(\w+))?")
TOKEN = "a-token-of-my-own-0123456789"


def pull(proxy: Proxy) -> None:
    """Pull a release as a client does."""
    Client(lambda _: None).pull(parse_reference(f"{proxy.host}/{ALIAS}"))


def place(proxy: Proxy) -> tuple[str, str | None]:
    """Return the address of the page, and the token, that the log names."""
    wait_until(lambda: SHOWN.search(proxy.log) is not None, "the page of pulls")
    match = SHOWN.search(proxy.log)
    assert match
    return match[1], match[2]


def state(url: str, token: str | None) -> requests.Response:
    """Return what programs are told."""
    with plain_session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        return session.get(f"{url}.json", timeout=TIMEOUT)


def test_pulls_of_a_proxy_that_serves(cloud: LocalCloud) -> None:
    """With PULLS_PORT mitmdump shows a pull, with the proxy's own requests in it."""
    port = str(free_port())
    with Proxy(cloud.registry_url, environment={"PULLS_PORT": port}) as proxy:
        wait_for_start(proxy)
        url, token = place(proxy)
        assert url == f"http://127.0.0.1:{port}/pulls"
        pull(proxy)
        assert state(url, "wrong").status_code == 403
        (shown,) = state(url, token).json()["pulls"]
        assert shown["name"] == ALIAS
        assert shown["release"] == "2.3.8+rev2"
        assert shown["bytes"] > 6_000_000
        (of_token,) = (r for r in shown["requests"] if r["kind"] == "token")
        assert [own["kind"] for own in of_token["own"]] == ["resolution", "grant"]
        sources = {r["source"] for r in shown["requests"] if r["kind"] == "blob"}
        assert sources == {"registry"}


def test_token_of_ones_own_is_not_told(cloud: LocalCloud, tmp_path: Path) -> None:
    """A token that is in a file opens the page, and stands in no log (T15)."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    variables = {"PULLS_PORT": str(free_port()), "PULLS_TOKEN": str(file)}
    debug = ("--set", "termlog_verbosity=debug")
    with Proxy(cloud.registry_url, environment=variables, arguments=debug) as proxy:
        url, told = place(proxy)
        assert told is None
        assert state(url, TOKEN).status_code == 200
        with plain_session() as session:
            for token, status in ((TOKEN, 200), (f"{TOKEN}x", 403)):
                answer = session.get(f"{url}?token={token}", timeout=TIMEOUT)
                session.cookies.clear()
                assert answer.status_code == status
            # The log is written in the order of what happens, and a little later.
            session.get(f"http://{proxy.host}/v2/marker/x/tags/list", timeout=TIMEOUT)
        wait_until(lambda: "marker" in proxy.log, "the line of a later request")
        assert TOKEN not in proxy.log


@pytest.mark.parametrize("text", ["", "short", "two words in one line"])
def test_token_that_is_none_stops_the_start(
    cloud: LocalCloud, tmp_path: Path, text: str
) -> None:
    """Nobody believes in a page behind a token that anybody could guess."""
    file = tmp_path / "token"
    file.write_text(text)
    variables = {"PULLS_PORT": str(free_port()), "PULLS_TOKEN": str(file)}
    with (
        pytest.raises(StartError, match=r"PULLS_TOKEN.*openssl rand -hex 16"),
        Proxy(cloud.registry_url, environment=variables),
    ):
        pass


def test_nothing_is_kept_where_nobody_looks(cloud: LocalCloud) -> None:
    """Without the variable there is no page, and the log names none."""
    with Proxy(cloud.registry_url) as proxy:
        wait_for_start(proxy)
        pull(proxy)
        assert "pulls are shown" not in proxy.log


def test_page_comes_and_goes_with_the_option(cloud: LocalCloud, tmp_path: Path) -> None:
    """The option can be changed while the proxy runs; mitmweb's page stays."""
    port = free_port()
    with mitmweb(cloud.registry_url, tmp_path) as (proxy, web):
        own = f"http://127.0.0.1:{port}/pulls"
        web.set(balena_pulls_listen=f"127.0.0.1:{port}")
        wait_until(lambda: own in proxy.log, "the page at its own address")
        token = re.findall(rf"{own}\?token=(\w+)", proxy.log)[0]
        pull(proxy)
        assert len(state(own, token).json()["pulls"]) == 1
        web.set(balena_pulls_listen="")
        with pytest.raises(requests.ConnectionError):
            state(own, token)
        assert len(state(*place(proxy)).json()["pulls"]) == 1


def test_command_leads_from_a_request_to_its_pull(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    """Who looks at a request gets the address of its pull."""
    with mitmweb(cloud.registry_url, tmp_path) as (proxy, web):
        pull(proxy)
        flow = web.find("token for")
        url, _ = place(proxy)
        assert web.command("balena.pull", f"@{flow}") == f"{url}#pull-1"
        explained = web.command("balena.explain", f"@{flow}")
        assert explained[-1] == f"pull  {url}#pull-1"
        told = web.everything()[f"/flows/{flow}/request/content/auto.json"]
        assert f"{url}#pull-1" in told


def test_browser_is_opened_at_the_page(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mitmweb opens the page of pulls, once, in the place of its list of requests."""
    opened = tmp_path / "opened"
    fake = tmp_path / "x-www-browser"
    fake.write_text(f'#!/bin/sh\necho "$1" >>{opened}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", ":0")
    variables = {"WEB_PORT": str(free_port())}
    with Proxy(cloud.registry_url, environment=variables, program="mitmweb") as proxy:
        wait_until(opened.exists, "a browser")
        url, token = place(proxy)
        pull(proxy)
        assert opened.read_text().split() == [f"{url}?token={token}"]
