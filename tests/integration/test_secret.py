"""No key and no token in what the proxy writes, at every verbosity (rule R15)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.account import KEYS
from localcloud.server import Request, Response
from resolver.grammar.challenge import TOKEN_PATH
from tests.client.client import Skopeo
from tests.integration.raw import connected, send
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import wait_until
from tests.integration.watched import basic, secrets_of, signature_of

ALIAS = "balenablocks/private-block/1.0.0"
PUBLIC = "balenablocks/browser-aarch64/2.3.8"
FORM = (
    f"POST {TOKEN_PATH} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
)
SIGNED = "eyJhbGciOiJFUzI1NiJ9.eyJhY2Nlc3MiOltdfQ.signature-of-the-token"
GET = "GET /v2/ HTTP/1.1\r\n"
BROKEN = {
    "two logins": GET + "Authorization: Bearer {key}\r\nAuthorization: Bearer {token}",
    "a header without a name": GET + "Authorization {login}",
    "a login for a name": GET + "Authorization {login}: x",
    "a key for a name": "GET /v2/?apikey={key} HTTP/1.1\r\nBearer {key}: x",
    "a login in the host": GET + "Host: u:{key}@localhost",
    "a whole URL": "GET http://u:{key}@localhost/v2/?apikey={key} HTTP/1.1",
    "a tunnel": "CONNECT localhost:80 HTTP/1.1\r\nProxy-Authorization: {login}",
    "a login without a scheme": f"GET {TOKEN_PATH} HTTP/1.1\r\nAuthorization: {{key}}",
    "a length of thousands of digits": GET
    + "Authorization: {login}\r\nContent-Length: "
    + "9" * 5000,
    "a form in pieces": FORM + "Transfer-Encoding: chunked\r\n\r\n"
    "49\r\ngrant_type=password&username=u&password={key}",
    "a form with semicolons": FORM + "Content-Length: 73\r\n\r\n"
    "grant_type=password;username=u;password={key}",
    "half a form": FORM + "Content-Length: 999\r\n\r\n"
    "grant_type=password&username=u&password={key}",
}


@contextmanager
def written(cloud: LocalCloud, folder: Path, *tokens: str) -> Iterator[Proxy]:
    """Run a proxy that writes all it can, and look for secrets when it has ended."""
    saved = folder / "flows"
    debug = ("--set", "termlog_verbosity=debug", "--flow-detail", "4")
    with Proxy(cloud.registry_url, arguments=(*debug, "-w", str(saved))) as proxy:
        token = get_token(f"http://{proxy.host}", PUBLIC)
        yield proxy
        log = proxy.log
    assert "Traceback" not in log
    flows = saved.read_bytes().decode("latin-1")
    assert f"scope=repository%3A{PUBLIC.replace('/', '%2F')}%3Apull" in flows
    for secret in secrets_of(cloud.keys["carol"], token) | {*tokens}:
        assert secret not in log
        assert secret not in flows


def test_key_and_token_are_not_written(
    cloud: LocalCloud, skopeo: Skopeo, tmp_path: Path
) -> None:
    """Log and saved flows of good and bad logins have neither, ever (T7)."""
    key = cloud.keys["carol"]
    with written(cloud, tmp_path) as proxy, plain_session() as session:
        url = f"http://{proxy.host}"
        skopeo.pull(f"{proxy.host}/{ALIAS}", key)
        for secret in ("password", "refresh_token"):
            form = {"grant_type": "password", "username": "u", secret: key}
            session.post(url + TOKEN_PATH, data=form, timeout=TIMEOUT)
        for path in ("/v2/", TOKEN_PATH, f"/v2/{ALIAS}/tags/list", "/nothing"):
            for login in (f"Bearer {key}", basic(key)):
                session.get(
                    f"{url}{path}?apikey={key}",
                    headers={"Authorization": login},
                    timeout=TIMEOUT,
                )
        with connected(proxy) as broken:
            broken.sendall(f"{GET}Authorization: {basic(key)}".encode())
        wait_until(
            lambda: "before completing request headers" in proxy.log, "a log line"
        )


def test_broken_requests_leave_no_key(cloud: LocalCloud, tmp_path: Path) -> None:
    """What is no sound request may have a login anywhere, and breaks nothing here."""
    key = cloud.keys["carol"]
    with written(cloud, tmp_path) as proxy:
        token = get_token(f"http://{proxy.host}", PUBLIC)
        for text in BROKEN.values():
            head, _, body = text.partition("\r\n\r\n")
            host = "" if "Host:" in head else f"\r\nHost: {proxy.host}"
            whole = f"{head}{host}\r\n\r\n{body}"
            asked = whole.format(key=key, login=basic(key), token=token)
            send(proxy, asked.encode(), ends=True)


def repeat_login(request: Request) -> Response | None:
    """Answer as a server does that shows what it was asked, for debugging."""
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
    key = cloud.keys["carol"]
    with (
        written(cloud, tmp_path, signature_of(SIGNED)) as proxy,
        plain_session() as session,
    ):
        for answer in (repeat_login, other_status):
            monkeypatch.setattr(cloud.api, "interpose", answer)
            for scope in ("", f"?scope=repository:{ALIAS}:pull"):
                url = f"http://{proxy.host}{TOKEN_PATH}{scope}"
                session.get(url, auth=("u", key), timeout=TIMEOUT)
    flows = (tmp_path / "flows").read_bytes()
    assert b"asked the API for a token: 201" in flows
    assert b"asked the API for a token: 403" in flows


def test_client_that_waits_with_its_form_is_told_to_go_on(
    proxy: Proxy,
) -> None:
    """The login comes after 100 Continue, as some clients have it with every form."""
    form = f"grant_type=password&username=u&password={KEYS['carol']}"
    head = f"{FORM}Content-Length: {len(form)}\r\nExpect: 100-continue"
    with connected(proxy) as client:
        client.sendall(f"{head}\r\nHost: {proxy.host}\r\n\r\n".encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        client.sendall(form.encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
