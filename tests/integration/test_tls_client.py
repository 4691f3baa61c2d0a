"""TLS between clients and the proxy, in each way there is, and verified by everyone."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcloud import LocalCloud
from tests.authority import Authority
from tests.client.client import (
    Buildah,
    Client,
    Containerd,
    Docker,
    Podman,
    Skopeo,
    docker_engine,
)
from tests.client.machine import ADDRESS, Machine
from tests.integration.registry import Installation, installed
from tests.integration.tool import ToolError, find_tool, run
from tests.integration.way import (
    SAVE,
    SYSTEM,
    USER,
    Way,
    behind_nginx,
    follow,
    signed_by_mitmproxy,
    with_own_certificate,
)

PUBLIC = "balenablocks/browser-aarch64/2.3.8"
PRIVATE = "balenablocks/private-block/1.0.0"
ABSENT = "balenablocks/browser-aarch64/9.9.9"
LOCATION = "875ff9869a2373a5d97612c498e0bcf1"
UNTRUSTED = "x509: certificate signed by unknown authority"
CLIENTS = {
    "docker": "docker on Linux with the classic image store",
    "ctr": "containerd",
    "podman": "podman",
    "buildah": "podman",
    "skopeo": "podman",
    "skopeo of one user": USER,
}
"""The heading of what each is told."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the proxy has a name, and clients can be told to trust it."""
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def registry(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The real registry there."""
    with machine.hosting(installed(tmp_path_factory.mktemp("registry"))) as made:
        yield made


@pytest.fixture(scope="module")
def private_engine(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """The sockets of dockerd and its containerd there."""
    with machine.hosting(docker_engine(tmp_path_factory.mktemp("docker"))) as sockets:
        yield sockets


@pytest.fixture(scope="module")
def authority() -> Authority:
    """An authority that nobody knows."""
    return Authority("private authority")


OWN: dict[str, dict[str, str]] = {
    "TLS_CERT and TLS_KEY": {"TLS_CERT": "{chain}", "TLS_KEY": "{key}"},
}
NGINX: dict[str, dict[str, str]] = {
    "nginx and TRUST_PROXY": {"TRUST_PROXY": "true"},
    "nginx and PUBLIC_URL": {"PUBLIC_URL": "https://{host}"},
}


@pytest.fixture(scope="module")
def way(
    request: pytest.FixtureRequest,
    machine: Machine,
    registry: Installation,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    """The way that the test names."""
    kind: str = request.param
    folder = tmp_path_factory.mktemp("way")
    if kind in OWN:
        made = with_own_certificate(registry.url, authority, folder, **OWN[kind])
    elif kind in NGINX:
        made = behind_nginx(registry.url, authority, folder, **NGINX[kind])
    else:
        made = signed_by_mitmproxy(registry.url, folder)
    with machine.hosting(made) as entered:
        yield entered


@pytest.fixture
def verifying(
    kind: str, private_engine: tuple[Path, Path], tmp_path: Path
) -> Iterator[Client]:
    """A client of that kind without any insecure option, and with an empty home."""
    docker, containerd = private_engine
    makers: dict[str, Callable[[Path], Client]] = {
        "docker": lambda folder: Docker(folder, docker),
        "ctr": lambda folder: Containerd(folder, containerd),
        "podman": Podman,
        "buildah": Buildah,
        "skopeo": Skopeo,
    }
    name = kind.partition(" ")[0]
    client = makers[name](tmp_path / name)
    client.transport = ()
    if isinstance(client, Containerd):
        client.transport = ("--hosts-dir", "/etc/containerd/certs.d")
    yield client
    if isinstance(client, Docker):
        client.forget()


@pytest.fixture
def forgetful(machine: Machine, way: Way) -> Iterator[None]:
    """Clients that trust nobody any more when the test is over."""
    yield
    for folder in ("docker", "containerd", "containers"):
        path = Path("/etc", folder, "certs.d", way.host)
        machine.call(lambda path=path: shutil.rmtree(path, ignore_errors=True))


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        *(("mitmproxy's authority", kind) for kind in CLIENTS),
        *((way, "skopeo") for way in (*OWN, *NGINX)),
    ],
    indirect=["way"],
)
@pytest.mark.usefixtures("forgetful")
def test_client_pulls_once_it_trusts(
    machine: Machine, registry: Installation, way: Way, kind: str, verifying: Client
) -> None:
    """It refuses an unknown authority, and pulls after the commands that it is told."""
    reference = f"{way.host}/{PRIVATE}"
    key = registry.cloud.keys["carol"]
    with pytest.raises(ToolError, match=UNTRUSTED):
        machine.call(verifying.pull, reference, key)
    follow(machine, way, verifying.folder, SAVE, CLIENTS[kind])
    pulled = machine.call(verifying.pull, reference, key)
    assert pulled == registry.digest(LOCATION)
    with pytest.raises(ToolError, match=r"no release 9\.9\.9|not found"):
        machine.call(verifying.pull, f"{way.host}/{ABSENT}")


def test_address_has_a_certificate_too(
    machine: Machine, registry: Installation, skopeo: Skopeo, tmp_path: Path
) -> None:
    """Who calls the proxy by its address names none, and is shown one for it."""
    skopeo.transport = ()
    with machine.hosting(signed_by_mitmproxy(registry.url, tmp_path, ADDRESS)) as way:
        follow(machine, way, skopeo.folder, SAVE, USER)
        key = registry.cloud.keys["carol"]
        pulled = machine.call(skopeo.pull, f"{way.host}/{PRIVATE}", key)
    assert pulled == registry.digest(LOCATION)


def test_system_wide(tmp_path: Path, skopeo: Skopeo) -> None:
    """Where the system trusts the authority, every program does."""
    skopeo.transport = ()
    curl = find_tool("curl")
    find_tool("update-ca-certificates")
    with (
        Machine(tmp_path) as machine,
        machine.hosting(LocalCloud()) as cloud,
        machine.hosting(signed_by_mitmproxy(cloud.registry_url, tmp_path)) as way,
    ):

        def ping() -> str:
            url = f"https://{way.host}/ping"
            return run(curl, "-sS", url, environment=skopeo.environment)

        with pytest.raises(ToolError, match="certificate"):
            machine.call(ping)
        follow(machine, way, skopeo.folder, SAVE, SYSTEM)
        assert machine.call(ping) == "pong"
        assert machine.call(skopeo.pull, f"{way.host}/{PUBLIC}")
