"""What the proxy says is wrong where servers cannot be reached, or not understood."""

import datetime as dt
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from cause.finding import Cause
from localcloud.relay import Failure, Relay
from localcloud.relay import Fault as Cut
from localcloud.server import Response, Server
from registry_proxy.port import free_port
from tests.authority import Authority, tls_context
from tests.deaf import deaf
from tests.integration.cause import Bench, Fault, check, cloud_of, ping, pull
from tests.integration.fault import port_of
from tests.integration.scripted import registry
from tests.integration.storage import SCRIPT

# Names.


def unknown_registry(bench: Bench) -> None:
    """The name of the registry is misspelt."""
    bench.named("registry.test", "-2")
    bench.front("http://registry.test:5000", *SCRIPT)
    ping(bench)


def silent_name_server(bench: Bench) -> None:
    """Nobody answers who knows the name of the registry."""
    bench.named("registry.test", "127.0.0.1", seconds=30)
    bench.front("http://registry.test:5000", *SCRIPT)
    ping(bench)


def failing_name_server(bench: Bench) -> None:
    """The name server of the API says that it cannot tell."""
    cloud = cloud_of(bench)
    bench.named("api.test", "-3")
    bench.front(cloud.registry_url, *SCRIPT, API_URL="http://api.test")
    pull(bench)


def unknown_api(bench: Bench) -> None:
    """The name of the API is misspelt."""
    cloud = cloud_of(bench)
    bench.named("api.test", "-2")
    bench.front(cloud.registry_url, *SCRIPT, API_URL="http://api.test")
    pull(bench)


# Connections.


def refusing_registry(bench: Bench) -> None:
    """Nobody listens where the registry should be."""
    bench.front("http://127.0.0.1:1")
    ping(bench)


def refusing_api(bench: Bench) -> None:
    """Nobody listens where the API should be."""
    bench.front(cloud_of(bench).registry_url, API_URL="http://127.0.0.1:1")
    pull(bench)


def deaf_registry(bench: Bench) -> None:
    """The registry takes no connection."""
    bench.front(f"http://127.0.0.1:{bench.enter(deaf())}")
    ping(bench)


def deaf_api(bench: Bench) -> None:
    """The API takes no connection."""
    port = bench.enter(deaf())
    bench.front(cloud_of(bench).registry_url, API_URL=f"http://127.0.0.1:{port}")
    pull(bench)


def with_relays(bench: Bench, **variables: str) -> tuple[Relay, Relay]:
    """Run a proxy with a cable to the registry, and one to the API."""
    cloud = cloud_of(bench)
    one = bench.enter(Relay(port_of(cloud.registry_url)))
    other = bench.enter(Relay(port_of(cloud.api_url)))
    api_url = f"http://127.0.0.1:{other.port}"
    bench.front(f"http://127.0.0.1:{one.port}", API_URL=api_url, **variables)
    return one, other


def cut_registry(failure: Failure) -> Callable[[Bench], None]:
    """Return what lets the cable to the registry fail."""

    def make(bench: Bench) -> None:
        one, _ = with_relays(bench)
        one.fail(Cut(failure))
        ping(bench)

    return make


def cut_api(failure: Failure) -> Callable[[Bench], None]:
    """Return what lets the cable to the API fail."""

    def make(bench: Bench) -> None:
        _, other = with_relays(bench)
        bench.started()
        other.fail(Cut(failure))
        pull(bench)

    return make


def closing_registry(bench: Bench) -> None:
    """What listens closes each connection as soon as something is asked."""
    closing = registry(lambda one: one.shutdown(socket.SHUT_WR))
    bench.front(bench.enter(closing))
    ping(bench)


def speaking_ssh(bench: Bench) -> None:
    """What listens is no web server."""
    bench.front(bench.enter(registry(lambda one: one.sendall(b"SSH-2.0-x\r\n"))))
    ping(bench)


# TLS.


def shown(**of: object) -> Callable[[Bench], None]:
    """Return what lets a registry show such a certificate."""

    def make(bench: Bench) -> None:
        address = str(of.get("address", "127.0.0.1"))
        lasts = of.get("lasts", dt.timedelta(days=1))
        assert isinstance(lasts, dt.timedelta)
        ours = Authority("Ours", lasts=lasts)
        ours.begins = of.get("begins", ours.begins)  # type: ignore[assignment]
        file = ours.server_file(bench.folder, str(of.get("name", "localhost")), address)
        server = bench.enter(Server(tls=tls_context(file)))
        server.application = lambda _: Response(200)
        trusted = ours.write_file(bench.folder / "ca.pem")
        option = f"ssl_verify_upstream_trusted_ca={trusted}"
        arguments = ("--set", option) if of.get("is_known", True) else ()
        if of.get("is_api"):
            url = f"https://{server.host}"
            bench.front(cloud_of(bench).registry_url, *arguments, API_URL=url)
            pull(bench)
        else:
            bench.front(f"https://{server.host}", *arguments)
            ping(bench)

    return make


def plain_registry_asked_in_tls(bench: Bench) -> None:
    """REGISTRY_URL has https, and the registry none."""
    bench.front(cloud_of(bench).registry_url.replace("http:", "https:"))
    ping(bench)


def plain_api_asked_in_tls(bench: Bench) -> None:
    """API_URL has https, and the API none."""
    cloud = cloud_of(bench)
    bench.front(cloud.registry_url, API_URL=cloud.api_url.replace("http:", "https:"))
    pull(bench)


def go_registry_with_tls_asked_in_plain(bench: Bench) -> None:
    """docker-registry says so itself, in a page that has no length."""
    file = Authority("Ours").server_file(bench.folder)
    url = bench.docker_registry(
        {"http": {"tls": {"certificate": str(file), "key": str(file)}}}
    )
    bench.front(url)
    ping(bench)


def nginx_with_tls_asked_in_plain(bench: Bench) -> None:
    """Nginx says so itself, too."""
    file = Authority("Ours").server_file(bench.folder)
    bench.front(bench.nginx("location / { return 200; }", tls=file))
    ping(bench)


def alert_of_tls(bench: Bench) -> None:
    """Others say nothing, but by an alert of TLS."""
    alert = b"\x15\x03\x03\x00\x02\x02\x0a"
    bench.front(bench.enter(registry(lambda one: one.sendall(alert))))
    ping(bench)


def old_tls(bench: Bench) -> None:
    """The registry speaks no TLS that is spoken today."""
    ours = Authority("Ours")
    context = ours.server_context(bench.folder)
    context.set_ciphers("PSK")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = bench.enter(Server(tls=context))
    server.application = lambda _: Response(200)
    bench.front(f"https://{server.host}")
    ping(bench)


def itself(bench: Bench) -> None:
    """The registry's address is the proxy's own."""
    port = free_port()
    bench.front(f"http://localhost:{port}", PROXY_PORT=str(port))
    ping(bench)


FAULTS = (
    Fault(
        "connection: itself",
        itself,
        Cause.NETWORK,
        ("the address of the registry localhost:", "leads to this proxy itself"),
        "name the address of the registry (REGISTRY_URL)",
    ),
    Fault(
        "DNS: unknown registry",
        unknown_registry,
        Cause.DNS,
        (
            "there is no host of the name registry.test",
            "where the registry registry.test:5000 should be",
        ),
        "REGISTRY_URL",
    ),
    Fault(
        "DNS: silent name server",
        silent_name_server,
        Cause.DNS,
        (
            "the name of the registry registry.test:5000 cannot be looked up",
            "the name server fails, or does not answer",
        ),
        "getent hosts registry.test",
    ),
    Fault(
        "DNS: failing name server of the API",
        failing_name_server,
        Cause.DNS,
        ("the name of the API api.test cannot be looked up",),
        "getent hosts api.test",
    ),
    Fault(
        "DNS: unknown API",
        unknown_api,
        Cause.DNS,
        ("there is no host of the name api.test, where the API api.test should be",),
        "API_URL",
    ),
    Fault(
        "refused: registry",
        refusing_registry,
        Cause.NETWORK,
        ("the registry 127.0.0.1:1 refuses the connection",),
        "REGISTRY_URL",
    ),
    Fault(
        "refused: API",
        refusing_api,
        Cause.NETWORK,
        ("the API 127.0.0.1:1 refuses the connection",),
        "API_URL",
    ),
    Fault(
        "no connection: registry",
        deaf_registry,
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "takes no connection within 2 seconds"),
        "see whether it runs, and whether REGISTRY_URL is right",
    ),
    Fault(
        "no connection: API",
        deaf_api,
        Cause.NETWORK,
        ("the API 127.0.0.1:", "within 2 seconds"),
        "",
    ),
    Fault(
        "silent: registry",
        cut_registry(Failure.HANG),
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "does not answer within 2 seconds"),
        "balena_registry_timeout",
    ),
    Fault(
        "silent: API",
        cut_api(Failure.HANG),
        Cause.NETWORK,
        ("the API 127.0.0.1:", "does not answer within 2 seconds"),
        "balena_api_timeout",
    ),
    Fault(
        "reset: registry",
        cut_registry(Failure.RESET),
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "reset the connection"),
        "load balancer",
    ),
    Fault(
        "reset: API",
        cut_api(Failure.RESET),
        Cause.NETWORK,
        ("the API 127.0.0.1:", "reset the connection"),
        "load balancer",
    ),
    Fault(
        "closed: registry",
        closing_registry,
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "closed the connection without an answer"),
        "its log",
    ),
    Fault(
        "no HTTP",
        speaking_ssh,
        Cause.NETWORK,
        ("the registry 127.0.0.1:", "something other than HTTP"),
        "REGISTRY_URL",
    ),
    Fault(
        "TLS: expired",
        shown(lasts=-dt.timedelta(hours=1)),
        Cause.TLS,
        (
            "the certificate of the registry 127.0.0.1:",
            "expired on 20",
            "this machine's clock says 20",
        ),
        "renew it there",
    ),
    Fault(
        "TLS: not yet valid",
        shown(begins=dt.timedelta(hours=9)),
        Cause.TLS,
        ("the certificate of the registry 127.0.0.1:", "is not valid before 20"),
        "NTP",
    ),
    Fault(
        "TLS: another name",
        shown(name="other.example", address="192.0.2.1"),
        Cause.TLS,
        (
            "the certificate of the registry 127.0.0.1:",
            "is for other.example, 192.0.2.1, and not for 127.0.0.1",
        ),
        "a name that it has",
    ),
    Fault(
        "TLS: unknown authority",
        shown(is_known=False),
        Cause.TLS,
        (
            "the certificate of the registry 127.0.0.1:",
            "is signed by CN=Ours, which is not trusted here",
        ),
        "ssl_verify_upstream_trusted_ca",
    ),
    Fault(
        "TLS: expired, API",
        shown(lasts=-dt.timedelta(hours=1), is_api=True),
        Cause.TLS,
        ("the certificate of the API 127.0.0.1:", "expired", "this machine's clock"),
        "renew it there",
    ),
    Fault(
        "TLS: unknown authority, API",
        shown(is_known=False, is_api=True),
        Cause.TLS,
        ("the certificate of the API 127.0.0.1:", "is not trusted here"),
        "ssl_verify_upstream_trusted_ca",
    ),
    Fault(
        "TLS: plain registry",
        plain_registry_asked_in_tls,
        Cause.TLS,
        ("speaks plain HTTP, but was addressed with TLS",),
        "REGISTRY_URL",
    ),
    Fault(
        "TLS: plain API",
        plain_api_asked_in_tls,
        Cause.TLS,
        ("the API 127.0.0.1:", "speaks plain HTTP, but was addressed with TLS"),
        "API_URL",
    ),
    Fault(
        "TLS: docker-registry asked in plain HTTP",
        go_registry_with_tls_asked_in_plain,
        Cause.TLS,
        ("speaks TLS, but was addressed in plain HTTP",),
        "https://",
    ),
    Fault(
        "TLS: nginx asked in plain HTTP",
        nginx_with_tls_asked_in_plain,
        Cause.TLS,
        ("speaks TLS, but was addressed in plain HTTP",),
        "https://",
    ),
    Fault(
        "TLS: alert",
        alert_of_tls,
        Cause.TLS,
        ("speaks TLS, but was addressed in plain HTTP",),
        "https://",
    ),
    Fault(
        "TLS: no common cipher",
        old_tls,
        Cause.TLS,
        (
            "the TLS handshake with the registry 127.0.0.1:",
            ": tls alert handshake failure",
        ),
        "openssl s_client",
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
def test_fault(fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is named in log, flow, explanation and report."""
    with ExitStack() as stack:
        check(fault, Bench(tmp_path, stack, monkeypatch))
