"""Options of mitmproxy that lead past the addon, in the programs that take them."""

import socket
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy, StartError
from localcloud import LocalCloud
from tests.integration.mitmweb import mitmweb
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import has_traceback

REFUSED: dict[str, tuple[object, str]] = {
    "ignore_hosts": ([".*"], "past the registry proxy"),
    "emudhra": (True, "can pose as this proxy"),
    "stickyauth": (".*", "the login of one client"),
}


@pytest.mark.parametrize("name", ["ignore_hosts", "emudhra"])
def test_refused_at_the_start(cloud: LocalCloud, name: str) -> None:
    """Nothing is served, and the message names the option and says why."""
    value, said = REFUSED[name]
    text = value[0] if isinstance(value, list) else str(value).lower()
    proxy = Proxy(cloud.registry_url, arguments=("--set", f"{name}={text}"))
    with pytest.raises(StartError, match=f"{name}: cannot be used, .*{said}") as stop:
        proxy.__enter__()
    assert not has_traceback(str(stop.value))


def test_refused_later(cloud: LocalCloud, tmp_path: Path) -> None:
    """Set on mitmweb's page it stays what it was, and the page is told why."""
    with mitmweb(cloud.registry_url, tmp_path) as (proxy, web):
        for name, (value, said) in REFUSED.items():
            with pytest.raises(requests.HTTPError) as refused:
                web.set(**{name: value})
            assert f"{name}: cannot be used" in refused.value.response.text
            assert said in refused.value.response.text
        with plain_session() as session:
            answer = session.get(f"http://{proxy.host}/elsewhere", timeout=TIMEOUT)
        assert answer.json()["errors"][0]["code"] == "UNSUPPORTED"


def test_nothing_but_tcp_is_served(cloud: LocalCloud) -> None:
    """In front of a registry with TLS mitmproxy listens for HTTP/3 as well."""
    url = cloud.registry_url.replace("http:", "https:")
    with (
        Proxy(url, environment={"API_URL": cloud.api_url}) as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(0.5)
        # Of a version that there is not, to which a server of QUIC has to answer.
        packet = b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(8) + b"\x08" + bytes(1200)
        client.sendto(packet, ("127.0.0.1", proxy.port))
        with pytest.raises(TimeoutError):
            client.recv(65536)
        assert "Traceback" not in proxy.log
