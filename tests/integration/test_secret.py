"""No key and no token in what the proxy writes, at every verbosity (rule R15)."""

import base64
import socket
from pathlib import Path

import pytest
from mitmproxy.io import FlowReader

from demo.proxy import Proxy
from tests.integration.client import Skopeo
from tests.integration.registry import Installation
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import wait_until

ALIAS = "balenablocks/private-block/1.0.0"
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
        with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT) as broken:
            broken.sendall(f"GET /v2/ HTTP/1.1\r\nAuthorization: {basic(key)}".encode())
        wait_until(
            lambda: "before completing request headers" in proxy.log, "a log line"
        )
        log = proxy.log
    assert f"{ALIAS} is 1.0.0" in log
    if verbosity == "debug":
        assert LOCATION not in log
    signature = token.partition("~")[0].rpartition(".")[2]
    with saved.open("rb") as flows:
        states = [str(flow.get_state()) for flow in FlowReader(flows).stream()]
    assert len(states) > 10
    for secret in (key, basic(key).split()[1], token, signature):
        assert secret not in log
        assert not [state for state in states if secret in state]


def basic(key: str) -> str:
    """Return the Basic login with the key as password."""
    return "Basic " + base64.b64encode(f"u:{key}".encode()).decode()
