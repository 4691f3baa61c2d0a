"""Options that lead past the addon, or contradict, in the programs that take them."""

import socket
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy, StartError
from localcloud import LocalCloud
from mitm.option import REFUSED, REQUIRED
from registry_proxy.port import free_port
from tests.authority import Authority
from tests.integration.mitmweb import mitmweb
from tests.integration.session import TIMEOUT
from tests.integration.tool import has_traceback, listens, wait_until

REASONS = {
    **{name: f"cannot be used, because {reason}" for name, reason in REFUSED.items()},
    **{name: "has to be " + str(value).lower() for name, value in REQUIRED.items()},
}


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


WRONG: dict[str, object] = {
    **{name: [".*"] for name in ("allow_hosts", "ignore_hosts")},
    **{name: [".*"] for name in ("tcp_hosts", "udp_hosts")},
    **dict.fromkeys(("stickyauth", "stickycookie"), ".*"),
    **dict.fromkeys(("body_size_limit", "stream_large_bodies"), "1m"),
    "map_local": ["|x|/tmp"],
    "map_remote": ["|x|http://127.0.0.1/"],
    "proxyauth": "any",
    "server_replay": ["/dev/null"],
    "upstream_auth": "user:password",
    **dict.fromkeys(("emudhra", "emudhra_old", "keep_alt_svc_header"), True),
    "proxy_debug": True,
    **{name: not value for name, value in REQUIRED.items()},
}
"""A value of each option that is required or refused, with which it would work."""


def test_every_option_that_leads_past_is_tried() -> None:
    """One that is refused from now on is tried as well."""
    assert WRONG.keys() == REFUSED.keys() | REQUIRED.keys()


def test_refused_later_on_the_page(cloud: LocalCloud, tmp_path: Path) -> None:
    """Set on mitmweb's page each stays what it was, and the page is told why."""
    port = free_port()
    with mitmweb(cloud.registry_url, tmp_path) as (proxy, web):
        before = {name: web.option(name) for name in ("mode", *WRONG)}
        second = [*before["mode"], f"regular@127.0.0.1:{port}"]
        for name, value in {**WRONG, "mode": second}.items():
            with pytest.raises(requests.HTTPError) as refused:
                web.set(**{name: value})
            message = refused.value.response.text
            assert f"{name}: {REASONS.get(name, '')}" in message
        assert {name: web.option(name) for name in before} == before
        # The proxy still serves what it did, and nothing beside it.
        assert requests.get(f"http://{proxy.host}/ping", timeout=TIMEOUT).ok
        assert not listens(port)


SCRIPT = """
import logging
from mitmproxy import ctx, exceptions

def running():
    wrong = {wrong!r}
    before = {{name: getattr(ctx.options, name) for name in wrong}}
    for name, value in wrong.items():
        try:
            ctx.options.update(**{{name: value}})
        except exceptions.OptionsError as error:
            logging.info("refused: %s", error)
    for name, value in wrong.items():
        if getattr(ctx.options, name) != before[name]:
            logging.error("%s was changed", name)
    logging.info("all tried")
"""


def test_refused_later_by_a_script(cloud: LocalCloud, tmp_path: Path) -> None:
    """So it is in mitmdump, where another script may set options while it runs."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(wrong=WRONG))
    with Proxy(cloud.registry_url, arguments=("-s", str(script))) as proxy:
        wait_until(lambda: "all tried" in proxy.log, "a script that is done")
        log = proxy.log
    assert "was changed" not in log
    for name in WRONG:
        assert f"refused: {name}: {REASONS[name]}" in log


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
