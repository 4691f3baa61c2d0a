"""Clients that go away without a request that would show why."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.client.client import Skopeo
from tests.integration.fault import ALIAS
from tests.integration.tool import ToolError, has_traceback, wait_until

VERIFYING: tuple[str, ...] = ()
TRUSTING = ("--src-tls-verify=false",)
NOWHERE = "http://localhost:1"


@dataclass(frozen=True, slots=True)
class Case:
    """What the proxy serves, how skopeo comes, and what both say."""

    variables: Mapping[str, str]
    transport: tuple[str, ...]
    message: str
    """skopeo's."""
    sentence: str
    advice: str


CASES = {
    "certificate": Case(
        {"TLS": "authority"},
        VERIFYING,
        "certificate signed by unknown authority",
        "a client does not trust the certificate of this proxy for localhost, and did"
        " not come back in 30 s: bad certificate",
        "registry-proxy trust localhost:",
    ),
    "plain HTTP": Case(
        {},
        VERIFYING,
        "server gave HTTP response to HTTPS client",
        "a client spoke TLS to this port, which speaks plain HTTP, and did not go on in"
        " plain HTTP in 30 s",
        "TLS=authority or TLS_CERT",
    ),
    "realm": Case(
        {"PUBLIC_URL": NOWHERE},
        TRUSTING,
        "connection refused",
        f"the client was sent to {NOWHERE}/auth/v1/token for a token, and did not come"
        " for one in 30 s",
        "set PUBLIC_URL",
    ),
}


def blamed(proxy: Proxy) -> list[Mapping[str, str]]:
    """Return the lines of the log that name a fault."""
    lines = map(json.loads, proxy.log.splitlines())
    return [line for line in lines if "fault" in line]


def test_client_that_goes_away(cloud: LocalCloud, skopeo: Skopeo) -> None:
    """It is told of half a minute later, with what skopeo said in other words."""
    with ExitStack() as stack:

        def front(variables: Mapping[str, str]) -> Proxy:
            environment = {"LOG_FORMAT": "json", **variables}
            made = Proxy(cloud.registry_url, environment=environment)
            return stack.enter_context(made)

        # All at once, because each is waited for.
        good = [front({"TLS": "authority"}), front({})]
        cases = [(front(case.variables), case) for case in CASES.values()]
        skopeo.transport = TRUSTING
        for proxy in good:
            skopeo.pull(f"{proxy.host}/{ALIAS}")
        for proxy, case in cases:
            skopeo.transport = case.transport
            with pytest.raises(ToolError, match=case.message):
                skopeo.pull(f"{proxy.host}/{ALIAS}")
        proxies = [proxy for proxy, _ in cases]
        wait_until(lambda: all(map(blamed, proxies)), "faults are named")
        for proxy, case in cases:
            (line,) = blamed(proxy)
            assert line["finding"] == case.sentence
            assert case.advice in line["advice"]
            assert f"next: {line['advice']}" in line["message"]
            assert not has_traceback(proxy.log)
        # There skopeo tried TLS too, went on, and has all this time been away.
        assert [blamed(proxy) for proxy in good] == [[], []]
