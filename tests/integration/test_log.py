"""Whom the log names where a reverse proxy is in front of the proxy."""

import json

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.integration.session import TIMEOUT, plain_session


@pytest.mark.parametrize("trust", ["yes", "no"])
def test_reverse_proxy_in_front_is_believed_if_told_so(
    cloud: LocalCloud, trust: str
) -> None:
    """Address and id of the request are those of the reverse proxy, or our own."""
    headers = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7", "X-Request-Id": "abc-123"}
    variables = {"LOG_FORMAT": "json", "TRUST_PROXY": trust}
    with (
        Proxy(cloud.registry_url, environment=variables) as proxy,
        plain_session() as session,
    ):
        url = f"http://{proxy.host}/v2/alpine/manifests/latest"
        answer = session.get(url, headers=headers, timeout=TIMEOUT)
        (refused,) = (
            line
            for line in map(json.loads, proxy.log.splitlines())
            if line.get("event") == "manifest"
        )
    # Only the last entry was written by the reverse proxy; the first one by anybody.
    expected = ("198.51.100.7", True) if trust == "yes" else ("127.0.0.1", False)
    assert (refused["client"], refused["request_id"] == "abc-123") == expected
    assert answer.headers["X-Request-Id"] == refused["request_id"]
