"""nginx as it is deployed, in front of the proxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from localcloud import LocalCloud
from serve import free_port
from tests.authority import Authority
from tests.client.machine import NAME, Machine
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import wait_until
from tests.integration.way import Way, behind_nginx, nginx


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which nginx has a name, and a log of its own."""
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> Authority:
    """An authority that nobody knows."""
    return Authority("private authority")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates are."""
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def way(machine: Machine, authority: Authority, folder: Path) -> Iterator[Way]:
    """A proxy that believes nginx, in front of a cloud."""
    with machine.hosting(machine.call(LocalCloud)) as cloud:
        made = behind_nginx(cloud.registry_url, authority, folder, TRUST_PROXY="true")
        with machine.hosting(made) as entered:
            yield entered


def test_only_nginx_says_how_it_was_reached(
    machine: Machine, way: Way, folder: Path
) -> None:
    """What a client forwards by itself never becomes the realm."""
    told = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"}
    told["Forwarded"] = "proto=http;host=evil.example"
    answer = machine.call(get, f"https://{way.host}/v2/", folder, told)
    assert answer.status_code == 401
    realm = f'realm="https://{way.host}/auth/v1/token"'
    assert realm in answer.headers["WWW-Authenticate"]


def test_log_has_no_query(machine: Machine, way: Way, folder: Path) -> None:
    """Somebody may have given a key for the user's name."""
    log = Path("/var/log/nginx/access.log")
    url = f"https://{way.host}/auth/v1/token"
    machine.call(get, f"{url}?account=secret-key", folder, {})
    wait_until(lambda: "/auth/v1/token" in machine.call(log.read_text), "a line of log")
    assert "secret-key" not in machine.call(log.read_text)


def test_without_a_proxy(
    machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """It answers in the words of a registry, which clients understand."""
    authority.write_file(tmp_path / "authority.pem")
    port, nobody = machine.call(free_port), machine.call(free_port)
    with machine.hosting(nginx(authority, tmp_path, port, nobody)):
        answer = machine.call(get, f"https://{NAME}:{port}/v2/", tmp_path, {})
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert answer.headers["Retry-After"] == "5"


def get(url: str, folder: Path, headers: dict[str, str]) -> requests.Response:
    """Return the answer, and trust the authority in the folder."""
    with plain_session(folder / "authority.pem") as session:
        return session.get(url, headers=headers, timeout=TIMEOUT)
