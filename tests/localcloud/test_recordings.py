"""localcloud answers as the real API did when it was recorded."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcloud import LocalCloud
from localcloud.catalog import MEASURED_REGISTRY
from tests.localcloud.client import ask

RECORDINGS = sorted(Path(__file__).with_name("recordings").glob("*.http"))
VARYING_CLAIMS = {"jti", "iat", "nbf", "exp"}


@dataclass(frozen=True, slots=True)
class Recording:
    """One exchange with the real API."""

    method: str
    target: str
    sent: dict[str, str]
    status: int
    received: dict[str, str]
    body: str


def read_recording(path: Path) -> Recording:
    """Take a recording apart."""
    lines = path.read_text(encoding="utf-8").splitlines()
    request = [line[2:] for line in lines if line.startswith("> ")]
    response = [line[2:] for line in lines if line.startswith("< ")]
    method, target, _ = request[0].split(" ")
    body = lines[lines.index("<") + 1 :]
    return Recording(
        method,
        target,
        dict(line.split(": ", 1) for line in request[1:]),
        int(response[0].split(" ")[1]),
        dict(line.split(": ", 1) for line in response[1:]),
        "\n".join(body).strip("\n"),
    )


def claims_of(token: str) -> dict[str, Any]:
    """Return a token's payload, unverified."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recorded_exchange(measured: LocalCloud, path: Path) -> None:
    """The same request gets the same status, headers and meaning."""
    recording = read_recording(path)
    sent = {
        name: value.replace("CAROL_KEY", measured.keys["carol"]).replace(
            "BOB_KEY", measured.keys["bob"]
        )
        for name, value in recording.sent.items()
    }
    answer = ask(measured.api_url, recording.target, sent, recording.method)
    assert answer.status == recording.status
    is_token = recording.target.startswith("/auth/") and recording.status == 200
    for name, value in recording.received.items():
        if not (is_token and name in {"ETag", "Content-Length"}):
            # The bodies are equal to the byte where even the ETags are.
            assert answer.headers[name] == value, name
    assert set(answer.headers) == set(recording.received)
    if is_token:
        claims = claims_of(answer.json["token"])
        expected = claims_of(json.loads(recording.body)["token"])
        assert claims.keys() == expected.keys()
        assert claims["exp"] - claims["iat"] == expected["exp"] - expected["iat"]
        assert claims["iat"] - claims["nbf"] == expected["iat"] - expected["nbf"]
        for name in claims.keys() - VARYING_CLAIMS:
            assert claims[name] == expected[name], name
    else:
        shown = answer.body.decode()
        body = shown.replace(measured.registry_host, MEASURED_REGISTRY)
        assert body == recording.body
