"""The token endpoint answers as the real one did to 99 requests."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from localcloud import LocalCloud
from localcloud.account import BUILDER_TOKEN, KEYS, SESSION
from localcloud.issuer import Access, InvalidTokenError, Issuer
from tests.localcloud.client import ask
from tests.localcloud.test_recordings import claims_of

ANSWERS = json.loads(Path(__file__).with_name("token-answers.json").read_text())
SECRETS = {
    "admin_key": KEYS["admin"],
    "bob_key": KEYS["bob"],
    "carol_key": KEYS["carol"],
    "device_key_private_block": KEYS["device"],
    "device_key_other": KEYS["other_device"],
    "builder_token": BUILDER_TOKEN,
    "session_jwt": SESSION,
    "account_password": "password-of-admin",
    "unknown_key": "unknown",
    "malformed_jwt": "eyJhbGciOiJIUzI1NiJ9.e30.nonsense",
    "empty": "",
}


def request_of(case: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the target and headers of a measured request."""
    parameters = [f"scope={quote(scope, safe='')}" for scope in case["scope"]]
    headers = {}
    scheme, _, credential = case["credential"].partition(" ")
    if scheme == "query":
        parameters.append(f"apikey={SECRETS[credential]}")
    elif scheme == "bearer":
        headers["Authorization"] = f"Bearer {SECRETS[credential]}"
    elif scheme == "basic":
        colon = "" if case["username"] == "nocolon" else ":"
        pair = f"{case['username']}{colon}{SECRETS[credential]}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return f"/auth/v1/token?{'&'.join(parameters)}".rstrip("?"), headers


def in_order(access: list[dict[str, Any]]) -> list[str]:
    """Return access in a form in which the keys' order does not count."""
    return [json.dumps(item, sort_keys=True) for item in access]


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case["case"])
def test_measured_answer(measured: LocalCloud, case: dict[str, Any]) -> None:
    """The same scopes and credential get the same access and subject."""
    target, headers = request_of(case)
    answer = ask(measured.api_url, target, headers, case["method"])
    assert answer.status == case["status"]
    if case["status"] == 401:
        assert answer.body == b""
        assert "WWW-Authenticate" not in answer.headers
    if "access" in case:
        assert answer.json.keys() == {"token"}
        claims = claims_of(answer.json["token"])
        assert in_order(claims["access"]) == in_order(case["access"])
        assert claims["sub"] == case["sub"]


def issuer(clock: list[float]) -> Issuer:
    """Return an issuer with that time."""
    return Issuer("api", "registry", lambda: clock[0])


@pytest.mark.parametrize(
    ("later", "is_good"), [(-71, False), (-70, True), (14_460, True), (14_461, False)]
)
def test_token_lives_for_its_time(later: int, *, is_good: bool) -> None:
    """A token is good from a little before its time until a little after its expiry."""
    clock = [1_000_000.0]
    ours = issuer(clock)
    access = [Access("v2/aa", ("pull",))]
    token = ours.issue("carol", access)
    clock[0] += later
    if is_good:
        assert ours.verify(token) == access
    else:
        with pytest.raises(InvalidTokenError, match="moment"):
            ours.verify(token)
