"""A place with the engines of its clients, each started when it is first wanted."""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Self

import pytest

from tests.authority import Authority
from tests.client.client import (
    Buildah,
    BuildKit,
    Client,
    Compose,
    Containerd,
    Crane,
    CtrMirror,
    Docker,
    ImageTools,
    ManifestInspect,
    Oras,
    Podman,
    Skopeo,
    docker_engine,
    empty_environment,
)
from tests.client.cri import Cri, CriMirror
from tests.client.machine import ADDRESS, NAME, Machine
from tests.client.place import HERE, Place, entered
from tests.integration.tool import require_root

HERE_NAME = "here"
SUITES = ("trixie", "sid")
_TRUSTED = "/usr/local/share/ca-certificates/registry.crt"


class Site:
    """Makes clients, which run on a machine, and trust what all there do.

    That is an authority, if one is given.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        machine: Machine,
        authority: Authority | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.place: Place = HERE
        self._machine = machine
        self._authority = authority
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.name != HERE_NAME:
                suite = self._machine.hosting(entered(self.name, self.folder))
                self.place = stack.enter_context(suite)
                self._write("/etc/hosts", f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n")
            if self._authority:
                # Before any engine is started, which reads it once.
                path = Path(self._authority.write_file(self.folder / "authority.pem"))
                self._write(_TRUSTED, path.read_text())
                self._run("update-ca-certificates")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _write(self, path: str, text: str) -> None:
        self._run("tee", path, stdin=text)

    def _run(self, program: str, *words: str, stdin: str | None = None) -> None:
        command = (self.place.find(program), *words)
        environment = empty_environment(self.folder)
        self._machine.call(
            lambda: self.place.run(*command, environment=environment, stdin=stdin)
        )

    def client(self, name: str) -> Client:
        """Return a client with an empty home."""
        folder = Path(
            tempfile.mkdtemp(prefix=f"{name.replace(' ', '-')}-", dir=self.folder)
        )
        made = CLIENTS[name](self, folder)
        made.name = name
        return made

    @cached_property
    def classic(self) -> Path:
        """The socket of dockerd with its classic store."""
        return self._start(docker_engine(self.folder / "classic", self.place))[0]

    @cached_property
    def docker_in_containerd(self) -> Path:
        """The socket of dockerd with containerd's store."""
        folder = self.folder / "store"
        running = docker_engine(folder, self.place, keeps_in_containerd=True)
        return self._start(running)[0]

    @cached_property
    def containerd(self) -> Path:
        """The socket of a containerd without dockerd."""
        return self._start(containerd_engine(self.folder / "containerd", self.place))

    def _start[T](self, running: AbstractContextManager[T]) -> T:
        return self._stack.enter_context(self._machine.hosting(running))


CLIENTS: Mapping[str, Callable[[Site, Path], Client]] = {
    "docker": lambda site, folder: Docker(folder, site.classic, site.place),
    "docker c8d": lambda site, folder: Docker(
        folder, site.docker_in_containerd, site.place
    ),
    "build": lambda site, folder: BuildKit(folder, site.classic, site.place),
    "build c8d": lambda site, folder: BuildKit(
        folder, site.docker_in_containerd, site.place
    ),
    "compose": lambda site, folder: Compose(folder, site.classic, site.place),
    "compose c8d": lambda site, folder: Compose(
        folder, site.docker_in_containerd, site.place
    ),
    "manifest": lambda site, folder: ManifestInspect(folder, site.classic, site.place),
    "imagetools": lambda site, folder: ImageTools(folder, site.classic, site.place),
    "ctr": lambda site, folder: Containerd(folder, site.containerd, site.place),
    "ctr mirror": lambda site, folder: CtrMirror(folder, site.containerd, site.place),
    "cri": lambda site, folder: Cri(folder, site.containerd, site.place),
    "cri mirror": lambda site, folder: CriMirror(folder, site.containerd, site.place),
    "podman": lambda site, folder: Podman(folder, site.place),
    "buildah": lambda site, folder: Buildah(folder, site.place),
    "skopeo": lambda site, folder: Skopeo(folder, site.place),
    "crane": lambda site, folder: Crane(folder, site.place),
    "oras": lambda site, folder: Oras(folder, site.place),
}
_OLD = {"docker", "build", "ctr", "cri", "podman", "buildah", "skopeo"}
"""Those that Debian 12 has too; its `docker manifest` takes no OCI image."""
_NEW = {"crane"}
"""Those that Debian 13 has not."""
SITES = {
    name: (
        *([HERE_NAME] if name in _OLD else []),
        *(suite for suite in SUITES if suite != SUITES[0] or name not in _NEW),
    )
    for name in CLIENTS
}
"""Where each client is."""


def with_each_client(
    argument: str, cases: Collection[str], clients: Iterable[str] = CLIENTS
) -> pytest.MarkDecorator:
    """Run a test for each case with each client, at one of its sites after another."""
    return _parametrize(
        argument,
        (
            (case, name, number + offset)
            for offset, name in enumerate(clients)
            for number, case in enumerate(cases)
        ),
    )


def with_some_client(argument: str, cases: Collection[str]) -> pytest.MarkDecorator:
    """Run a test for each case, and with each client."""
    pairs = zip(cycle(cases), CLIENTS, strict=False)
    return _parametrize(argument, ((*pair, at) for at, pair in enumerate(pairs)))


def _parametrize(
    argument: str, runs: Iterable[tuple[str, str, int]]
) -> pytest.MarkDecorator:
    """Return the mark for runs of a case, a client, and the number of its site."""
    chosen = [
        pytest.param(case, (site, name), id=f"{case}-{site}-{name}".replace(" ", "-"))
        for case, name, number in runs
        for site in [SITES[name][number % len(SITES[name])]]
    ]
    indirect = ["client", *({"front"} & {argument})]
    return pytest.mark.parametrize((argument, "client"), chosen, indirect=indirect)


@contextmanager
def containerd_engine(folder: Path, place: Place) -> Iterator[Path]:
    """Run containerd with the CRI; yield its socket, beside which is its certs.d."""
    require_root("containerd")
    folder.mkdir()
    socket, config = folder / "containerd.sock", folder / "config.toml"
    config.write_text(
        f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{socket}"
[ttrpc]
address = "{socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{folder}/certs.d"
"""
    )
    command: list[str | Path] = [place.find("containerd"), "--config", config]
    with place.running(
        command,
        socket.exists,
        log=folder / "containerd.log",
        environment=empty_environment(folder),
    ):
        yield socket
