"""What is enough for whom to trust the proxy, or to do without TLS.

What `make trust` prints is done by the clients of today, which trust nobody before.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

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


CLASSIC_ALONE = {
    CLASSIC: "",
    BUILD: UNTRUSTED,
    PULL_C8D: UNTRUSTED,
    BUILD_C8D: UNTRUSTED,
}


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


@dataclass(frozen=True, slots=True)
class Trial:
    """A place whose clients trust nobody but public authorities, and a proxy."""

    machine: Machine
    installation: Installation
    site: Site
    way: Way

    @contextmanager
    def dockers(self, name: str, *insecure: str) -> Iterator[Mapping[str, Client]]:
        """Start docker with each store; yield what pulls and what builds with it."""
        with ExitStack() as stack:
            clients: dict[str, Client] = {}
            for pull, build, in_containerd in (
                (CLASSIC, BUILD, False),
                (PULL_C8D, BUILD_C8D, True),
            ):
                folder = self.site.folder / f"{name}{int(in_containerd)}"
                engine = docker_engine(
                    folder,
                    self.site.place,
                    keeps_in_containerd=in_containerd,
                    insecure=insecure,
                )
                socket, _ = stack.enter_context(self.machine.hosting(engine))
                clients[pull] = Docker(folder / "pull", socket, self.site.place)
                clients[build] = BuildKit(folder / "build", socket, self.site.place)
            yield clients

    def outcomes(
        self, clients: Mapping[str, Client], host: str | None = None
    ) -> dict[str, str]:
        """Let all pull from the host, or the way's; return what each says."""
        key = self.installation.cloud.keys["carol"]
        reference = f"{host or self.way.host}/{PRIVATE}"
        said = dict.fromkeys(clients, "")
        for name, client in clients.items():
            try:
                digest = self.machine.call(client.pull, reference, key)
            except ToolError as error:
                known = (words for words in (UNTRUSTED, NO_TLS) if words in str(error))
                said[name] = next(known, str(error))
            else:
                assert digest == self.installation.digest(LOCATION)
        return said

    def follow(self, *kinds: str) -> None:
        """Do what clients of these kinds are told to."""
        site = self.site
        follow(self.machine, self.way, site.folder, *kinds, place=site.place)


@pytest.fixture(params=SUITES)
def trial(
    request: pytest.FixtureRequest,
    machine: Machine,
    installation: Installation,
    way: Way,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trial]:
    """Each suite of today's clients in turn."""
    folder = tmp_path_factory.mktemp("site")
    with Site(request.param, folder, machine) as site:
        yield Trial(machine, installation, site, way)


def test_dockers_folder_is_enough_for_the_classic_store_alone(trial: Trial) -> None:
    """Nor docker build nor the containerd store get a token by it."""
    with trial.dockers("docker") as clients:
        assert set(trial.outcomes(clients).values()) == {UNTRUSTED}
        trial.follow(SAVE, "docker on Linux with the classic")
        assert trial.outcomes(clients) == CLASSIC_ALONE


def test_systems_store_is_enough_for_every_client(trial: Trial) -> None:
    """Docker and containerd read it when they start; the others each time."""
    with trial.dockers("before") as clients:
        assert set(trial.outcomes(clients).values()) == {UNTRUSTED}
        trial.follow(SAVE, SYSTEM, DOCKER)
        assert set(trial.outcomes(clients).values()) == {UNTRUSTED}
    asked = trial.site.folder / "systemctl"
    assert asked.read_text() == "restart docker\n"
    others = {name: trial.site.client(name) for name in (*ONE_REGISTRY, "oras")}
    for client in others.values():
        client.transport = ()
    with trial.dockers("after") as clients:
        assert set(trial.outcomes({**clients, **others}).values()) == {""}


@pytest.mark.parametrize("name", ONE_REGISTRY)
def test_one_folder_is_enough_for_others(trial: Trial, name: str) -> None:
    """Containerd and podman's family need nothing but what is told them."""
    client = trial.site.client(name)
    client.transport = ()
    folders = "/etc/containerd/certs.d"
    if isinstance(client, Containerd):
        client.transport = ("--hosts-dir", folders)
    elif name == "cri":
        (trial.site.folder / "containerd" / "certs.d").symlink_to(folders)
    assert trial.outcomes({name: client}) == {name: UNTRUSTED}
    told, place = (SAVE, ONE_REGISTRY[name]), trial.site.place
    follow(trial.machine, trial.way, client.folder, *told, place=place)
    assert trial.outcomes({name: client}) == {name: ""}


def test_insecure_registries(trial: Trial) -> None:
    """For a port of plain HTTP they are enough for all; for one with TLS they are not.

    Loopback needs none, which all other tests of today's clients show.
    """
    everywhere = {"LISTEN_HOST": "0.0.0.0"}
    proxy = Proxy(trial.installation.url, environment=everywhere)
    with trial.machine.hosting(proxy) as running:
        plain = f"{NAME}:{running.port}"
        with trial.dockers("wary") as clients:
            assert set(trial.outcomes(clients, plain).values()) == {NO_TLS}
        with trial.dockers("trusting", plain, trial.way.host) as clients:
            assert set(trial.outcomes(clients, plain).values()) == {""}
            assert trial.outcomes(clients) == CLASSIC_ALONE
