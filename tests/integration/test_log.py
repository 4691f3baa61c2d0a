"""What the log says of each pull, for people and for machines."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from demo.proxy import Proxy
from tests.client.client import Skopeo
from tests.integration.fault import ALIAS, LOCATION
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, plain_session

JSON = {"LOG_FORMAT": "json"}


def json_lines(log: str) -> list[Mapping[str, Any]]:
    """Return the lines that are JSON; mitmproxy's first one comes before the addon."""
    first, *lines = log.splitlines()
    assert first.endswith("addon.py")
    return [json.loads(line) for line in lines]


def events(log: str, kind: str) -> list[Mapping[str, Any]]:
    """Return the lines about requests of a kind."""
    return [line for line in json_lines(log) if line.get("event") == kind]


def test_pull_reads_like_a_story(installation: Installation, skopeo: Skopeo) -> None:
    """One line for each step, with what was found, how much and how long."""
    with Proxy(installation.url) as proxy:
        digest = skopeo.pull(f"{proxy.host}/{ALIAS}")
        log = proxy.log
    steps = [line for line in log.splitlines() if " GET " in line]
    token, manifest, *blobs = steps
    assert f"token: {ALIAS} is 2.3.8+rev2 (commit b4b201f) -> v2/567e..." in token
    assert "cache miss" in token
    assert f"manifest latest of {ALIAS}: 200, release 2.3.8+rev2, " in manifest
    assert digest
    assert all(f" of {ALIAS}: 200, release 2.3.8+rev2, " in line for line in blobs)
    assert all(" bytes in " in line for line in (manifest, *blobs))
    assert LOCATION not in log


def test_json_has_the_facts_by_name(installation: Installation, skopeo: Skopeo) -> None:
    """Every line is an object; that of a request can be searched and summed up."""
    with Proxy(installation.url, environment=JSON) as proxy:
        digest = skopeo.pull(f"{proxy.host}/{ALIAS}")
        log = proxy.log
    (token,) = events(log, "token")
    assert token["alias"] == ALIAS
    assert token["aliases"][0]["cache"] == "miss"
    (manifest,) = events(log, "manifest")
    assert manifest["outcome"] == "served"
    assert manifest["release"] == "2.3.8+rev2"
    assert manifest["location"] == "v2/567e..."
    assert manifest["client"] == "127.0.0.1"
    assert manifest["duration"] >= 0
    assert len(manifest["request_id"]) == 36
    blobs = events(log, "blob")
    assert digest not in {blob["digest"] for blob in blobs}
    assert sum(blob["bytes"] for blob in blobs) > 1_000_000
    assert all(line["time"].endswith("Z") for line in json_lines(log))


@pytest.mark.parametrize("trust", ["yes", "no"])
def test_reverse_proxy_in_front_is_believed_if_told_so(
    installation: Installation, trust: str
) -> None:
    """Address and id of the request are those of the reverse proxy, or our own."""
    headers = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7", "X-Request-Id": "abc-123"}
    variables = JSON | {"TRUST_PROXY": trust}
    with Proxy(installation.url, environment=variables) as proxy:
        with plain_session() as session:
            url = f"http://{proxy.host}/v2/alpine/manifests/latest"
            answer = session.get(url, headers=headers, timeout=TIMEOUT)
        (refused,) = events(proxy.log, "manifest")
    # Only the last entry was written by the reverse proxy; the first one by anybody.
    expected = ("198.51.100.7", True) if trust == "yes" else ("127.0.0.1", False)
    assert (refused["client"], refused["request_id"] == "abc-123") == expected
    assert answer.headers["X-Request-Id"] == refused["request_id"]
    assert (refused["outcome"], refused["code"]) == ("refused", "NAME_INVALID")
