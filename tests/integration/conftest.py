"""What the integration tests share: servers that run once, clients made fresh."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from tests.client.client import (
    Client,
    Containerd,
    Docker,
    Podman,
    Skopeo,
    docker_engine,
)
from tests.integration.registry import Installation, add_twins, installed
from tests.integration.tool import wait_for_start


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The real registry, with localcloud's API."""
    with installed(tmp_path_factory.mktemp("registry")) as running:
        add_twins(running)
        yield running


@pytest.fixture(scope="session")
def proxy(installation: Installation) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with Proxy(installation.url) as running:
        wait_for_start(running)
        yield running


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """A cloud whose servers remember what they were asked, and can be made to fail."""
    with LocalCloud() as running:
        yield running


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The sockets of dockerd and its containerd."""
    with docker_engine(tmp_path_factory.mktemp("docker")) as sockets:
        yield sockets


@pytest.fixture
def docker(engine: tuple[Path, Path], tmp_path: Path) -> Iterator[Docker]:
    """A docker with an empty home and no images."""
    made = Docker(tmp_path / "docker", engine[0])
    yield made
    made.forget()


@pytest.fixture
def skopeo(tmp_path: Path) -> Skopeo:
    """A skopeo with an empty home."""
    return Skopeo(tmp_path / "skopeo")


@pytest.fixture
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """The client that the test names, with an empty home."""
    makers: dict[str, Callable[[], Client]] = {
        "docker": lambda: request.getfixturevalue("docker"),
        "ctr": lambda: Containerd(tmp_path, request.getfixturevalue("engine")[1]),
        "podman": lambda: Podman(tmp_path),
        "skopeo": lambda: Skopeo(tmp_path),
    }
    return makers[request.param]()
