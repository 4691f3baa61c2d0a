"""compose.yaml: what compose makes of it, and pulls through what it starts."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from localcloud.sample import sample_images
from mitm import option
from registry_proxy import ROOT
from registry_proxy.port import free_port
from tests.client.client import Skopeo
from tests.container.conftest import BASE
from tests.container.engine import Engine
from tests.integration.fault import ALIAS, LOCATION
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import find_tool, run, wait_until

REPLICAS = 3
IN_THE_CONTAINER = {"LISTEN_HOST", "PROXY_PORT", "CONFDIR", "WEB_PORT"}
"""Variables with a meaning of their own there, or none: it serves no pages."""
OF_THE_CACHE = {"CACHE", "CACHE_SIZE"}
"""Variables that mean a folder, which is a volume of one service."""
KEPT = "/var/cache/registry-proxy"
PROFILES = (
    *("--profile", "try", "--profile", "scale"),
    *("--profile", "keep", "--profile", "cache"),
)
OUTGOING = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
"""Those that every program reads."""
ASKED = re.compile(r"status=200 .* replica=(replica\d+)")
"""How HAProxy's log tells of an answer of a replica."""
FETCHED = "fetched into the cache, "
FROM_THE_CACHE = "from the cache, "
"""How the proxy's log tells where a blob came from."""
HAPROXY_CONFIG = "/usr/local/etc/haproxy/haproxy.cfg"
HAPROXY_CHANGES = (
    "USER 99",
    f'CMD ["haproxy", "-W", "-db", "-f", "{HAPROXY_CONFIG}"]',
)
"""As docker's own image of it has them."""


class Compose:
    """A project, and the variables that its user has set."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._compose = (
            *(find_tool("docker-compose"), "--project-name", "registry-proxy-test"),
            *("--file", ROOT / "compose.yaml"),
        )
        self.variables = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **variables}

    def __call__(self, *arguments: str) -> str:
        """Return what it prints, and if it fails what it complains of."""
        return run(*self._compose, *arguments, environment=self.variables)

    def services(self) -> Mapping[str, Any]:
        """Return the services as they come out, with those of all profiles."""
        text = self(*PROFILES, "config")
        services: Mapping[str, Any] = YAML(typ="safe").load(text)["services"]
        return services


@contextmanager
def project(engine: Engine, *services: str, **variables: str) -> Iterator[Compose]:
    """Run services of compose.yaml, of images that are there already."""
    settings = {
        name: engine.environment[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG")
    }
    compose = Compose({**settings, **variables})
    try:
        compose("up", "--detach", "--no-build", *services)
        yield compose
    finally:
        compose(*PROFILES, "down", "--volumes")


@pytest.fixture(scope="module")
def images(engine: Engine, image: str) -> dict[str, str]:
    """The images, as the variables of compose.yaml that name them."""
    docker = ("build", "--target", "localcloud", "--build-arg", f"PYTHON_IMAGE={BASE}")
    engine.build([engine.docker_path, *docker, "--tag", "localcloud", "."])
    find_tool("haproxy")
    find_tool("wget")
    engine.import_base("haproxy", "haproxy", "wget", changes=HAPROXY_CHANGES)
    return {
        "IMAGE": image,
        "LOCALCLOUD_IMAGE": "localcloud",
        "HAPROXY_IMAGE": "haproxy",
    }


@pytest.fixture(scope="module")
def digest() -> str:
    """What the alias stands for in any localcloud."""
    location = f"v2/{LOCATION}"
    return next(i.digest for i in sample_images() if i.repository == location)


def test_every_service_is_locked_down_and_has_its_time() -> None:
    """None may write, gain rights or keep any, and all come back after a crash.

    Compose gives a proxy longer to stop than the proxy gives its transfers.
    """
    services = Compose({}).services()
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
    for name in ("single", "keep", "try", "proxy", "cached"):
        assert services[name]["stop_grace_period"] == "30s"


def test_ports_are_published_on_loopback_alone() -> None:
    """Who wants more says so; no two services want the same, and replicas none."""
    services = Compose({}).services()
    found = {name: published(service) for name, service in services.items()}
    assert {name: ports for name, ports in found.items() if ports} == {
        "single": ["127.0.0.1:8080"],
        "keep": ["127.0.0.1:8084"],
        "try": ["127.0.0.1:8081"],
        "haproxy": ["127.0.0.1:8082"],
        "nginx": ["127.0.0.1:8083"],
    }


def test_variables_of_the_proxy_are_passed() -> None:
    """Each variable that is read reaches the container, or what is published."""
    variables = {*option.VARIABLES, *OUTGOING} - IN_THE_CONTAINER
    passed = dict.fromkeys(variables, "1")
    listening = {"LISTEN_HOST": "0.0.0.0", "PROXY_PORT": "5000"}
    services = Compose(passed | listening).services()
    assert services["keep"]["environment"] == passed | {"CACHE": KEPT}
    usual = dict.fromkeys(variables - OF_THE_CACHE, "1")
    assert services["single"]["environment"] == usual
    assert services["proxy"]["environment"]["TRUST_PROXY"] == "true"
    own = {"BLOBS": "nginx", "TRUST_PROXY": "true"}
    assert services["cached"]["environment"] | own == services["cached"]["environment"]
    assert published(services["single"]) == ["0.0.0.0:5000"]


def test_try_needs_no_network(
    engine: Engine, images: dict[str, str], digest: str, tmp_path: Path
) -> None:
    """A proxy in front of localcloud serves its images, beside the usual proxy."""
    ports = {"TRY_PORT": free_port(), "PROXY_PORT": free_port()}
    variables = images | {name: str(port) for name, port in ports.items()}
    with project(engine, "single", "try", **variables):
        wait_until(lambda: all(map(answers, ports.values())), "the proxies")
        reference = f"localhost:{ports['TRY_PORT']}/{ALIAS}"
        assert Skopeo(tmp_path).pull(reference) == digest


def test_blobs_outlive_the_container(
    engine: Engine, images: dict[str, str], digest: str, tmp_path: Path
) -> None:
    """A new container serves what the last one fetched, and fetches none of it."""
    port = free_port()
    variables = {
        **images,
        "KEEP_PORT": str(port),
        "CACHE_SIZE": "100MB",
        "REGISTRY_URL": "http://localcloud:5000",
        "API_URL": "http://localcloud:8000",
    }

    def pull(name: str) -> str:
        wait_until(lambda: answers(port), "the proxy")
        assert Skopeo(tmp_path / name).pull(f"localhost:{port}/{ALIAS}") == digest
        return compose("--profile", "keep", "logs", "keep")

    with project(engine, "keep", "localcloud", **variables) as compose:
        first = pull("first")
        blobs = first.count(FETCHED)
        assert blobs > 1
        assert FROM_THE_CACHE not in first
        compose("--profile", "keep", "rm", "--stop", "--force", "keep")
        compose("up", "--detach", "--no-build", "--no-deps", "keep")
        second = pull("second")
        assert FETCHED not in second
        assert second.count(FROM_THE_CACHE) == blobs


def test_scale_balances_over_replicas(
    engine: Engine, images: dict[str, str], digest: str, tmp_path: Path
) -> None:
    """HAProxy finds each of three replicas by the name, and does with one of them."""
    port = free_port()
    variables = {
        **images,
        "HAPROXY_PORT": str(port),
        "REGISTRY_URL": "http://localcloud:5000",
        "API_URL": "http://localcloud:8000",
    }
    services = ("--scale", f"proxy={REPLICAS}", "haproxy", "localcloud")
    with project(engine, *services, **variables) as compose:
        wait_until(
            lambda: (
                answers(port)
                and len(set(ASKED.findall(compose("logs", "haproxy")))) == REPLICAS
            ),
            "an answer of each replica",
        )
        reference = f"localhost:{port}/{ALIAS}"
        assert Skopeo(tmp_path / "all").pull(reference) == digest
        replicas = compose("ps", "--quiet", "proxy").split()
        engine.docker("kill", *replicas[1:])
        assert Skopeo(tmp_path / "one").pull(reference) == digest


@pytest.fixture(scope="module")
def nginx_image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an image of this machine's nginx, like the one that needs no root."""
    find_tool("nginx")
    find_tool("wget")
    engine.import_base("nginx-base", "nginx", "wget")
    folder = tmp_path_factory.mktemp("nginx")
    authorities = Path("/etc/ssl/certs/ca-certificates.crt").read_bytes()
    (folder / "ca-certificates.crt").write_bytes(authorities)
    (folder / "Dockerfile").write_text(
        "FROM nginx-base\n"
        "COPY ca-certificates.crt /etc/ssl/certs/\n"
        "RUN mkdir -p /var/cache/nginx /var/log/nginx"
        " && ln -s /dev/stdout /var/log/nginx/access.log"
        " && chown 101 /var/cache/nginx\n"
        "USER 101\n"
    )
    engine.build([engine.docker_path, "build", "--tag", "nginx", folder])
    return "nginx"


def test_cache_keeps_blobs(
    engine: Engine,
    images: dict[str, str],
    nginx_image: str,
    digest: str,
    tmp_path: Path,
) -> None:
    """The nginx in front sends blobs itself; it has them after a restart, too."""
    port = free_port()
    variables = {
        **images,
        "NGINX_IMAGE": nginx_image,
        "NGINX_PORT": str(port),
        "REGISTRY_URL": "http://localcloud:5000",
        "API_URL": "http://localcloud:8000",
    }
    with project(engine, "nginx", "localcloud", **variables) as compose:
        wait_until(lambda: answers(port), "nginx, and the proxy behind it")
        reference = f"localhost:{port}/{ALIAS}"
        assert Skopeo(tmp_path / "cold").pull(reference) == digest
        compose("restart", "nginx")
        wait_until(lambda: answers(port), "nginx")
        assert Skopeo(tmp_path / "warm").pull(reference) == digest
        log = compose("logs", "nginx")
        kept = [line for line in log.splitlines() if "cache=HIT" in line]
        fetched = [line for line in log.splitlines() if "cache=MISS" in line]
        assert len(kept) == len(fetched) >= REPLICAS
        assert "left to nginx" in compose("logs", "cached")


def published(service: Mapping[str, Any]) -> list[str]:
    """Return the addresses that it takes, which each version of compose writes anew."""
    return [
        port.rpartition(":")[0]
        if isinstance(port, str)
        else f"{port.get('host_ip', '')}:{port['published']}"
        for port in service.get("ports", ())
    ]


def answers(port: int) -> bool:
    """Return whether a proxy answers on the port."""
    with plain_session() as session:
        try:
            return session.get(f"http://127.0.0.1:{port}/ping", timeout=TIMEOUT).ok
        except OSError:
            return False
