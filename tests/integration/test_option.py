"""Options that lead past the addon, or contradict, in the programs that take them."""

import socket
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy, StartError
from localcloud import LocalCloud
from tests.authority import Authority
from tests.integration.mitmweb import mitmweb
from tests.integration.tool import has_traceback


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("ignore_hosts=.*", "cannot be used, .*past the registry proxy"),
        ("balena_tls=authority", "authority contradicts balena_tls_cert"),
    ],
)
def test_refused_at_the_start(
    cloud: LocalCloud, tmp_path: Path, option: str, said: str
) -> None:
    """Nothing is served, and the message names the option and says why."""
    own = Authority("own").server_file(tmp_path)
    arguments = ("--set", option, "--set", f"balena_tls_cert={own}")
    proxy = Proxy(cloud.registry_url, arguments=arguments)
    message = f"{option.partition('=')[0]}: {said}"
    with pytest.raises(StartError, match=message) as stopped, proxy:
        pass
    assert not has_traceback(str(stopped.value))


def test_refused_later(cloud: LocalCloud, tmp_path: Path) -> None:
    """Set on mitmweb's page it stays what it was, and the page is told why."""
    with mitmweb(cloud.registry_url, tmp_path) as (_, web):
        for name, value, said in (
            ("ignore_hosts", [".*"], "past the registry proxy"),
            ("emudhra", True, "can pose as this proxy"),
            ("stickyauth", ".*", "the login of one client"),
        ):
            with pytest.raises(requests.HTTPError) as refused:
                web.set(**{name: value})
            message = refused.value.response.text
            assert f"{name}: cannot be used" in message
            assert said in message
        assert web.option("ignore_hosts") == []


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
