"""What is enough for whom to trust the proxy, or to do without TLS.

What `make trust` prints is done by the clients of today, which trust nobody before.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from demo.proxy import Proxy
from tests.client.client import BuildKit, Client, Containerd, Docker, docker_engine
from tests.client.machine import NAME, Machine
from tests.client.site import SUITES, Site
from tests.integration.registry import Installation
from tests.integration.tool import ToolError
from tests.integration.way import SAVE, SYSTEM, USER, Way, follow, signed_by_mitmproxy

PRIVATE = "balenablocks/private-block/1.0.0"
LOCATION = "875ff9869a2373a5d97612c498e0bcf1"
UNTRUSTED = "certificate signed by unknown authority"
NO_TLS = "server gave HTTP response to HTTPS client"
CLASSIC, PULL_C8D, BUILD, BUILD_C8D = "pull", "pull c8d", "build", "build c8d"
DOCKER = "docker on Linux: "
ONE_REGISTRY = {
    "ctr": "containerd",
    "cri": "containerd",
    "podman": "podman",
    "buildah": "podman",
    "skopeo": USER,
}
"""What clients are told for which one folder for that registry is enough."""


@pytest.fixture(params=SUITES)
def site(
    request: pytest.FixtureRequest,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A place whose clients trust nobody but public authorities."""
    folder = tmp_path_factory.mktemp("site")
    with Site(request.param, folder, machine) as made:
        yield made


@pytest.fixture(scope="module")
def way(
    machine: Machine,
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    """A proxy with mitmproxy's authority, under a name that is not loopback's."""
    folder = tmp_path_factory.mktemp("way")
    with machine.hosting(signed_by_mitmproxy(installation.url, folder)) as made:
        yield made


@pytest.fixture(scope="module")
def plain(machine: Machine, installation: Installation) -> Iterator[str]:
    """The host of one with plain HTTP there."""
    everywhere = {"LISTEN_HOST": "0.0.0.0"}
    proxy = Proxy(installation.url, environment=everywhere)
    with machine.hosting(proxy) as running:
        yield f"{NAME}:{running.port}"


@contextmanager
def dockers(
    machine: Machine, site: Site, name: str, *insecure: str
) -> Iterator[Mapping[str, Client]]:
    """Start docker with each store; yield what pulls and what builds with it."""
    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        for pull, build, in_containerd in (
            (CLASSIC, BUILD, False),
            (PULL_C8D, BUILD_C8D, True),
        ):
            folder = site.folder / f"{name}{int(in_containerd)}"
            engine = docker_engine(
                folder,
                site.place,
                keeps_in_containerd=in_containerd,
                insecure=insecure,
            )
            socket, _ = stack.enter_context(machine.hosting(engine))
            clients[pull] = Docker(folder / "pull", socket, site.place)
            clients[build] = BuildKit(folder / "build", socket, site.place)
        yield clients


@pytest.fixture
def outcomes(
    machine: Machine, installation: Installation
) -> Callable[[Mapping[str, Client], str], dict[str, str]]:
    """Return a function that has all pull from a host, and returns what each says."""

    def pull(clients: Mapping[str, Client], host: str) -> dict[str, str]:
        said: dict[str, str] = {}
        for name, client in clients.items():
            key = installation.cloud.keys["carol"]
            try:
                digest = machine.call(client.pull, f"{host}/{PRIVATE}", key)
            except ToolError as error:
                known = (words for words in (UNTRUSTED, NO_TLS) if words in str(error))
                said[name] = next(known, str(error))
            else:
                assert digest == installation.digest(LOCATION)
                said[name] = ""
        return said

    return pull


def test_dockers_folder_is_enough_for_the_classic_store_alone(
    machine: Machine,
    site: Site,
    way: Way,
    outcomes: Callable[[Mapping[str, Client], str], dict[str, str]],
) -> None:
    """Nor docker build nor the containerd store get a token by it."""
    with dockers(machine, site, "docker") as clients:
        assert set(outcomes(clients, way.host).values()) == {UNTRUSTED}
        kind = "docker on Linux with the classic"
        follow(machine, way, site.folder, SAVE, kind, place=site.place)
        assert outcomes(clients, way.host) == {
            CLASSIC: "",
            BUILD: UNTRUSTED,
            PULL_C8D: UNTRUSTED,
            BUILD_C8D: UNTRUSTED,
        }


def test_systems_store_is_enough_for_every_client(
    machine: Machine,
    site: Site,
    way: Way,
    outcomes: Callable[[Mapping[str, Client], str], dict[str, str]],
) -> None:
    """Docker and containerd read it when they start; the others each time."""
    with dockers(machine, site, "before") as clients:
        assert set(outcomes(clients, way.host).values()) == {UNTRUSTED}
        follow(machine, way, site.folder, SAVE, SYSTEM, DOCKER, place=site.place)
        assert set(outcomes(clients, way.host).values()) == {UNTRUSTED}
    assert (site.folder / "systemctl").read_text() == "restart docker\n"
    others = {name: site.client(name) for name in (*ONE_REGISTRY, "oras")}
    for client in others.values():
        client.transport = ()
    with dockers(machine, site, "after") as clients:
        assert set(outcomes({**clients, **others}, way.host).values()) == {""}


@pytest.mark.parametrize("name", ONE_REGISTRY)
def test_one_folder_is_enough_for_others(
    machine: Machine,
    site: Site,
    way: Way,
    name: str,
    outcomes: Callable[[Mapping[str, Client], str], dict[str, str]],
) -> None:
    """Containerd and podman's family need nothing but what is told them."""
    client = site.client(name)
    client.transport = ()
    folders = "/etc/containerd/certs.d"
    if isinstance(client, Containerd):
        client.transport = ("--hosts-dir", folders)
    elif name == "cri":
        (site.folder / "containerd" / "certs.d").symlink_to(folders)
    assert outcomes({name: client}, way.host) == {name: UNTRUSTED}
    told = (SAVE, ONE_REGISTRY[name])
    follow(machine, way, client.folder, *told, place=site.place)
    assert outcomes({name: client}, way.host) == {name: ""}


def test_insecure_registries(
    machine: Machine,
    site: Site,
    way: Way,
    plain: str,
    outcomes: Callable[[Mapping[str, Client], str], dict[str, str]],
) -> None:
    """For a port of plain HTTP they are enough for all; for one with TLS they are not.

    Loopback needs none, which all other tests of today's clients show.
    """
    with dockers(machine, site, "wary") as clients:
        assert set(outcomes(clients, plain).values()) == {NO_TLS}
    with dockers(machine, site, "trusting", plain, way.host) as clients:
        assert set(outcomes(clients, plain).values()) == {""}
        assert outcomes(clients, way.host) == {
            CLASSIC: "",
            BUILD: UNTRUSTED,
            PULL_C8D: UNTRUSTED,
            BUILD_C8D: UNTRUSTED,
        }
