"""nginx as it is deployed, in front of the proxy."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from registry_proxy.port import free_port
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


def test_request_has_one_name(machine: Machine, way: Way, folder: Path) -> None:
    """It is nginx's own in both logs and in the answer, whatever a client calls it."""
    name = {"X-Request-Id": "chosen-by-a-client"}
    answer = machine.call(get, f"https://{way.host}/v2/named", folder, name)
    shown = answer.headers["X-Request-Id"]
    assert shown != name["X-Request-Id"]
    log = Path("/var/log/nginx/access.log")
    wait_until(lambda: f"id={shown}" in machine.call(log.read_text), "a line of log")


def test_client_takes_no_replica_out(
    machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """Whatever heads and bodies a client sends, others are served by all (T8)."""
    authority.write_file(tmp_path / "authority.pem")
    port = machine.call(free_port)
    with ExitStack() as stack:
        cloud = stack.enter_context(machine.hosting(machine.call(LocalCloud)))
        replicas = [
            stack.enter_context(machine.hosting(Proxy(cloud.registry_url)))
            for _ in range(3)
        ]
        ports = [replica.port for replica in replicas]
        stack.enter_context(machine.hosting(nginx(authority, tmp_path, port, ports)))
        url = f"https://{NAME}:{port}"
        for _ in range(6):
            headers = {"X-Long": "x" * 90_000}
            answer = machine.call(get, f"{url}/v2/", tmp_path, headers)
            assert answer.status_code == 431
            assert answer.json()["errors"]
        answer = machine.call(get, f"{url}/v2/{'a' * 90_000}", tmp_path, {})
        assert answer.status_code == 431
        answer = machine.call(get, f"{url}/v2/", tmp_path, {}, bytes(90_000))
        assert answer.status_code == 413
        assert answer.json()["errors"]
        # The longest head that passes is one that the proxy takes.
        lines = {f"X-{number}": "x" * 12_000 for number in range(3)}
        for headers in ({"Authorization": "x" * 9000}, lines | {"Host": "h" * 11_000}):
            answer = machine.call(get, f"{url}/v2/", tmp_path, headers)
            assert answer.status_code in (400, 401)
            assert answer.json()["errors"]
        assert machine.call(get, f"{url}/ping", tmp_path, {}).text == "pong"


def test_without_a_proxy(
    machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """It answers in the words of a registry, which clients understand."""
    authority.write_file(tmp_path / "authority.pem")
    port, nobody = machine.call(free_port), machine.call(free_port)
    with machine.hosting(nginx(authority, tmp_path, port, [nobody])):
        answer = machine.call(get, f"https://{NAME}:{port}/v2/", tmp_path, {})
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert answer.headers["Retry-After"] == "5"


def get(
    url: str, folder: Path, headers: dict[str, str], body: bytes | None = None
) -> requests.Response:
    """Return the answer, and trust the authority in the folder."""
    with plain_session(folder / "authority.pem") as session:
        return session.get(url, headers=headers, data=body, timeout=TIMEOUT)
