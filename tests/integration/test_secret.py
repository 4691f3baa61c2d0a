"""No key and no token in what the proxy writes, at every verbosity (rule R15)."""

import json
import os
import sys
from pathlib import Path

import pytest
from mitmproxy.io import FlowReader

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Request, Response
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.credential import KEY_VARIABLE
from serve import ROOT
from tests.client.client import Skopeo
from tests.integration.raw import connected, send
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import ToolError, run, wait_until
from tests.integration.watched import basic, secrets_of, signature_of

ALIAS = "balenablocks/private-block/1.0.0"
PUBLIC = "balenablocks/browser-aarch64/2.3.8"
LOCATION = "875ff9869a2373a5d97612c498e0bcf1"
DEBUG = ("--set", "termlog_verbosity=debug")
VERBOSITY = {
    "debug": DEBUG,
    "mitmproxy's own": (*DEBUG, "--flow-detail", "4"),
}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("verbosity", VERBOSITY)
def test_key_and_token_are_not_written(
    installation: Installation, skopeo: Skopeo, tmp_path: Path, verbosity: str
) -> None:
    """Log and saved flows of good and bad logins have neither, ever (T7)."""
    key = installation.cloud.keys["carol"]
    saved = tmp_path / "flows"
    arguments = (*VERBOSITY[verbosity], "-w", str(saved))
    with Proxy(installation.url, arguments=arguments) as proxy:
        url = f"http://{proxy.host}"
        skopeo.pull(f"{proxy.host}/{ALIAS}", key)
        token = get_token(url, ALIAS, key=key)
        with plain_session() as session:
            form = f"grant_type=password&username=u&password={key}"
            for body in (form, form.replace("password&", "refresh_token&")):
                session.post(
                    f"{url}/auth/v1/token",
                    data=body,
                    headers=FORM_TYPE,
                    timeout=TIMEOUT,
                )
            for path in (
                "/v2/",
                "/auth/v1/token",
                f"/v2/{ALIAS}/tags/list",
                "/nothing",
            ):
                for login in (f"Bearer {key}", f"Bearer {token}", basic(key)):
                    session.get(
                        f"{url}{path}?apikey={key}",
                        headers={"Authorization": login},
                        timeout=TIMEOUT,
                    )
        with connected(proxy) as broken:
            broken.sendall(f"GET /v2/ HTTP/1.1\r\nAuthorization: {basic(key)}".encode())
        wait_until(
            lambda: "before completing request headers" in proxy.log, "a log line"
        )
        log = proxy.log
    assert f"{ALIAS} is 1.0.0" in log
    if verbosity == "debug":
        assert LOCATION not in log
    states = read_states(saved)
    assert len(states) > 10
    for secret in secrets_of(key, token):
        assert secret not in log
        assert not [state for state in states if secret in state]


def read_states(saved: Path) -> list[str]:
    """Return all that is in the saved flows, each as a text."""
    with saved.open("rb") as flows:
        return [str(flow.get_state()) for flow in FlowReader(flows).stream()]


FORM = f"POST {TOKEN_PATH} HTTP/1.1\r\nContent-Type: {FORM_TYPE['Content-Type']}"
BROKEN = {
    "two logins": "GET /v2/ HTTP/1.1\r\nAuthorization: Bearer {key}\r\n"
    "Authorization: Bearer {token}",
    "a header without a name": "GET /v2/ HTTP/1.1\r\nAuthorization {login}",
    "a login for a name": "GET /v2/ HTTP/1.1\r\nAuthorization {login}: x",
    "a key for a name": "GET /v2/?apikey={key} HTTP/1.1\r\nBearer {key}: x",
    "a login in the host": "GET /v2/ HTTP/1.1\r\nHost: u:{key}@localhost",
    "a whole URL": "GET http://u:{key}@localhost/v2/?apikey={key} HTTP/1.1",
    "a tunnel": "CONNECT localhost:80 HTTP/1.1\r\nProxy-Authorization: {login}",
    "a login without a scheme": f"GET {TOKEN_PATH} HTTP/1.1\r\nAuthorization: {{key}}",
    "a length of thousands of digits": "GET /v2/ HTTP/1.1\r\nAuthorization: {login}"
    "\r\nContent-Length: " + "9" * 5000,
    "a form in pieces": FORM + "\r\nTransfer-Encoding: chunked\r\n\r\n"
    "49\r\ngrant_type=password&username=u&password={key}",
    "a form with semicolons": FORM + "\r\nContent-Length: 73\r\n\r\n"
    "grant_type=password;username=u;password={key}",
    "half a form": FORM + "\r\nContent-Length: 999\r\n\r\n"
    "grant_type=password&username=u&password={key}",
}


def test_broken_requests_leave_no_key(cloud: LocalCloud, tmp_path: Path) -> None:
    """What is no sound request may have a login anywhere, and breaks nothing here."""
    key, saved = cloud.keys["carol"], tmp_path / "flows"
    arguments = (*DEBUG, "-w", str(saved))
    with Proxy(cloud.registry_url, arguments=arguments) as proxy:
        token = get_token(f"http://{proxy.host}", PUBLIC)
        for text in BROKEN.values():
            head, _, body = text.partition("\r\n\r\n")
            host = "" if "Host:" in head else f"\r\nHost: {proxy.host}"
            whole = f"{head}{host}\r\n\r\n{body}"
            asked = whole.format(key=key, login=basic(key), token=token)
            send(proxy, asked.encode(), ends=True)
        log = proxy.log
    assert "Traceback" not in log
    states = read_states(saved)
    assert len(states) > len(BROKEN) / 2
    for secret in secrets_of(key, token):
        assert secret not in log
        assert not [state for state in states if secret in state]


SIGNED = "eyJhbGciOiJFUzI1NiJ9.eyJhY2Nlc3MiOltdfQ.signature-of-the-token"


def repeat_login(request: Request) -> Response | None:
    """Answer as a server does that shows what it was asked, for debugging."""
    if request.path.startswith("/v2/"):
        return None
    status = {TOKEN_PATH: 403}.get(request.path, 500)
    login = request.header("Authorization") or ""
    return Response(status, (("X-Login", login),), json.dumps(request.headers).encode())


def other_status(request: Request) -> Response | None:
    """Answer with a token, and with a status that does not mean so."""
    token = json.dumps({"token": SIGNED, "expires_in": 60})
    return Response(201, (), token.encode()) if request.path == TOKEN_PATH else None


def test_what_the_api_repeats_is_not_shown(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flows of the proxy's own requests have neither login nor token in an answer."""
    key, saved = cloud.keys["carol"], tmp_path / "flows"
    with (
        Proxy(cloud.registry_url, arguments=("-w", str(saved))) as proxy,
        plain_session() as session,
    ):
        for answer in (repeat_login, other_status):
            monkeypatch.setattr(cloud.api, "interpose", answer)
            for scope in ("", f"?scope=repository:{ALIAS}:pull"):
                session.get(
                    f"http://{proxy.host}{TOKEN_PATH}{scope}",
                    auth=("u", key),
                    timeout=TIMEOUT,
                )
    states = read_states(saved)
    assert any("asked the API for a token: 201" in state for state in states)
    assert any("asked the API for a token: 403" in state for state in states)
    for secret in {*secrets_of(key), signature_of(SIGNED)}:
        assert not [state for state in states if secret in state]


def test_client_that_waits_with_its_form_is_told_to_go_on(
    installation: Installation, proxy: Proxy
) -> None:
    """The login comes after 100 Continue, as some clients have it with every form."""
    form = f"grant_type=password&username=u&password={installation.cloud.keys['carol']}"
    head = f"{FORM}\r\nContent-Length: {len(form)}\r\nExpect: 100-continue"
    with connected(proxy) as client:
        client.sendall(f"{head}\r\nHost: {proxy.host}\r\n\r\n".encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        client.sendall(form.encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_key_of_several_lines_is_not_printed(cloud: LocalCloud) -> None:
    """A line feed at its end is that of a file; within it, it makes it unusable."""
    key = cloud.keys["carol"]
    variables = {**os.environ, "API_URL": cloud.api_url, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "resolver", ALIAS)
    found = run(*command, environment=variables | {KEY_VARIABLE: f"{key}\n"})
    assert LOCATION in found
    with pytest.raises(ToolError) as failed:
        run(*command, environment=variables | {KEY_VARIABLE: f"{key}\n{key}"})
    assert key not in str(failed.value)
    assert "BALENA_API_KEY holds characters" in str(failed.value)
