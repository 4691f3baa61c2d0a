"""The token endpoint answers as the real one did to 99 requests."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from localcloud import LocalCloud
from localcloud.account import ACCOUNT_PASSWORD, BUILDER_TOKEN, KEYS, SESSION
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
    "account_password": ACCOUNT_PASSWORD,
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


def test_all_answers_are_replayed() -> None:
    """No measured answer got lost."""
    assert len(ANSWERS) == 99


def issuer_at(now: float) -> Issuer:
    """Return an issuer whose clock stands still."""
    return Issuer("api", "registry", lambda: now)


def test_token_lives_for_its_time() -> None:
    """A token is good from a little before its time until its expiry."""
    clock = [1_000_000.0]
    issuer = Issuer("api", "registry", lambda: clock[0])
    token = issuer.issue("carol", [Access("v2/aa", ("pull",))])
    assert issuer.verify(token) == [Access("v2/aa", ("pull",))]
    clock[0] += 14_400
    assert issuer.verify(token)
    clock[0] += 61
    with pytest.raises(InvalidTokenError, match="moment"):
        issuer.verify(token)
    clock[0] = 1_000_000.0 - 71
    with pytest.raises(InvalidTokenError, match="moment"):
        issuer.verify(token)


def test_foreign_and_unsigned_tokens_are_refused() -> None:
    """Another key, another audience, another issuer and no signature do not pass."""
    issuer = issuer_at(1_000_000)
    claims = jwt.decode(issuer.issue("", []), options={"verify_signature": False})
    foreign = [
        issuer_at(1_000_000).issue("", []),
        jwt.encode(claims, "", algorithm="none"),
        "",
        "a.b.c",
    ]
    for token in foreign:
        with pytest.raises(InvalidTokenError):
            issuer.verify(token)


@pytest.mark.parametrize("field", ["audience", "name"])
def test_token_for_another_party_is_refused(field: str) -> None:
    """The audience and the issuer must be the registry's own."""
    issuer = issuer_at(1_000_000)
    before = getattr(issuer, field)
    setattr(issuer, field, "other")
    token = issuer.issue("", [])
    setattr(issuer, field, before)
    with pytest.raises(InvalidTokenError):
        issuer.verify(token)
