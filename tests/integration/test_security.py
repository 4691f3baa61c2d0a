"""The claims of the README's section on security, each tried from outside."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

import serve
from demo.proxy import Proxy
from localcloud import LocalCloud
from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.integration.raw import BYE, HOST, send
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.resolver.fake import base64url, fixed

PUBLIC = "balenablocks/browser-aarch64/2.3.8"
OTHER = "balenablocks/browser-aarch64/1.6.0"
PRIVATE = "balenablocks/private-block/1.0.0"
PRIVATE_LOCATION = "v2/875ff9869a2373a5d97612c498e0bcf1"
MANIFEST = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
README = (serve.ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def front(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of the cloud."""
    with Proxy(cloud.registry_url) as running:
        yield running


def pull(proxy: Proxy, name: str, token: str) -> requests.Response:
    """Return the answer to the request for a manifest."""
    with plain_session() as session:
        return session.get(
            f"http://{proxy.host}/v2/{name}/manifests/latest",
            headers={**MANIFEST, "Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
        )


def suffixed(token: str, payload: object) -> str:
    """Return the token with another list of aliases appended to its JWT."""
    return f"{token.partition('~')[0]}~{base64url(payload)}"


def test_every_claim_is_tried() -> None:
    """Each numbered claim of the README stands in the docstring of a test."""
    section = README.partition("## Security")[2].partition("\n## ")[0]
    claims = set(re.findall(r"^\| (T\d+) \|", section, re.MULTILINE))
    tests = "".join(
        path.read_text() for path in (serve.ROOT / "tests").rglob("test_*.py")
    )
    assert len(claims) >= 10
    assert claims == set(re.findall(r"[( ](T\d+)\)", tests))


def test_token_yields_what_it_was_issued_for(
    installation: Installation, proxy: Proxy
) -> None:
    """A token for one alias is none for another (T1)."""
    token = get_token(f"http://{proxy.host}", PUBLIC)
    assert pull(proxy, PUBLIC, token).status_code == 200
    slug = "balenablocks/browser-aarch64"
    # Without a selector, what is asked for is that of the tag (R9).
    for name, scope in ((OTHER, OTHER), (PRIVATE, PRIVATE), (slug, f"{slug}/latest")):
        refused = pull(proxy, name, token)
        assert refused.status_code == 401
        assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
        assert f"repository:{scope}:pull" in refused.headers["WWW-Authenticate"]
    assert installation.cloud.issuer.audience


def test_forged_alias_wins_nothing(proxy: Proxy) -> None:
    """The registry checks the JWT against the location that is asked for (T1)."""
    token = get_token(f"http://{proxy.host}", PUBLIC)
    jwt = token.partition("~")[0]
    for alias in (PUBLIC, PRIVATE, "some/thing"):
        forged = append_aliases(jwt, Aliases({alias: fixed(PRIVATE_LOCATION)}))
        refused = pull(proxy, alias, forged)
        assert refused.status_code == 401
        assert PRIVATE_LOCATION.partition("/")[2] not in refused.text
        assert PRIVATE_LOCATION not in str(refused.headers)


@pytest.mark.parametrize(
    "payload",
    [
        {"v": 1, "a": {PUBLIC: f"{PRIVATE_LOCATION}/../x"}, "r": {}},
        {"v": 1, "a": {}, "r": {PUBLIC: ["NAME_UNKNOWN", "a\nforged line"]}},
        b"[" * 2000,
        b"x" * 6000,
    ],
    ids=lambda payload: repr(payload)[:40],
)
def test_suffix_that_is_none(proxy: Proxy, payload: object) -> None:
    """Whatever else is appended to a token gets a fresh challenge (T1)."""
    token = get_token(f"http://{proxy.host}", PUBLIC)
    refused = pull(proxy, PUBLIC, suffixed(token, payload))
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert "forged line" not in proxy.log


def test_one_key_does_not_show_another_what_it_found(
    cloud: LocalCloud, front: Proxy
) -> None:
    """What a member found is not remembered for a stranger, nor for nobody (T4)."""
    url = f"http://{front.host}"
    found = get_token(url, PRIVATE, key=cloud.keys["carol"])
    cloud.requests.clear()
    strangers = [
        pull(front, PRIVATE, get_token(url, PRIVATE, key=key))
        for key in (None, cloud.keys["bob"])
    ]
    assert [answer.status_code for answer in strangers] == [403, 403]
    absent = pull(front, "nobody/nothing", get_token(url, "nobody/nothing"))
    for answer in strangers:
        assert answer.text.replace("balenablocks/private-block", "nobody/nothing") == (
            absent.text
        )
    assert pull(front, PRIVATE, found).status_code == 200


SMUGGLED = b"GET /v2/org/smuggled/manifests/latest HTTP/1.1\r\n" + HOST + b"\r\n"
LENGTH = str(len(SMUGGLED)).encode()
CARRIERS = {
    "body": b"GET /v2/ HTTP/1.1\r\nContent-Length: " + LENGTH + b"\r\n",
    "body of a token request": b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: "
    + LENGTH
    + b"\r\n",
    "chunked": b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
    "both": b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "two lengths": b"GET /v2/ HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: "
    + LENGTH
    + b"\r\n",
    "signed length": b"GET /v2/ HTTP/1.1\r\nContent-Length: +" + LENGTH + b"\r\n",
    "list of lengths": b"GET /v2/ HTTP/1.1\r\nContent-Length: 0, " + LENGTH + b"\r\n",
    "space before the colon": b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding : chunked\r\n",
    "unknown encoding": b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n",
    "folded header": b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n",
    "header of another": b"GET /v2/ HTTP/1.1\r\nX: a\r\n\tContent-Length: 4\r\n",
    "line feed": b"GET /v2/ HTTP/1.1\nContent-Length: " + LENGTH + b"\n",
    "upgrade": b"GET /v2/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Content-Length: " + LENGTH + b"\r\n",
    "cleartext HTTP/2": b"GET /v2/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: " + LENGTH + b"\r\n",
    "CONNECT": b"CONNECT registry2.example.com:443 HTTP/1.1\r\n",
    "absolute": b"GET http://registry2.example.com/v2/ HTTP/1.1\r\n",
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_smuggled_request_goes_nowhere(
    cloud: LocalCloud, front: Proxy, carrier: str
) -> None:
    """A request inside another is its body, or ends the connection (T5)."""
    assert cloud.registry is not None
    cloud.registry.requests.clear()
    smuggling = CARRIERS[carrier] + HOST + b"\r\n" + SMUGGLED
    answer = send(front, smuggling, ends=True)
    ping = b"GET /ping HTTP/1.1\r\n" + HOST + BYE
    assert send(front, ping).startswith(b"HTTP/1.1 200 ")
    targets = {request.target for request in cloud.registry.requests}
    assert targets <= {"/v2/"}
    assert b"smuggled" not in answer


def test_fault_of_ours_lets_nothing_through(cloud: LocalCloud, tmp_path: Path) -> None:
    """A request that meets a bug is answered 500, and goes nowhere (T9)."""
    script = tmp_path / "bug.py"
    # Wherever aliases are read, it is a name that is not there.
    script.write_text(
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('resolver.'):\n"
        "        vars(module).pop('parse_alias', None)\n"
    )
    assert cloud.registry is not None
    with Proxy(cloud.registry_url, arguments=("-s", str(script))) as proxy:
        cloud.registry.requests.clear()
        answer = pull(proxy, PUBLIC, "a.b.c")
        assert answer.status_code == 500
        assert json.loads(answer.content)["errors"][0]["code"] == "UNKNOWN"
        assert "Traceback" not in answer.text
        assert "Traceback" in proxy.log
        assert not list(cloud.registry.requests)
