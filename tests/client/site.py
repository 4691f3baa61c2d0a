"""A place with the engines of its clients, each started when it is first wanted."""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
        make, engine, _ = CLIENTS[name]
        sockets = () if engine is None else (getattr(self, engine),)
        made = make(folder, *sockets, self.place)
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


_ALL, _TODAY, _NEWEST = (HERE_NAME, *SUITES), SUITES, SUITES[1:]
"""Debian 12 has some of them too, but its `docker manifest` takes no OCI image."""
CLIENTS: Mapping[str, tuple[Callable[..., Client], str | None, Sequence[str]]] = {
    "docker": (Docker, "classic", _ALL),
    "docker c8d": (Docker, "docker_in_containerd", _TODAY),
    "build": (BuildKit, "classic", _ALL),
    "build c8d": (BuildKit, "docker_in_containerd", _TODAY),
    "compose": (Compose, "classic", _TODAY),
    "compose c8d": (Compose, "docker_in_containerd", _TODAY),
    "manifest": (ManifestInspect, "classic", _TODAY),
    "imagetools": (ImageTools, "classic", _TODAY),
    "ctr": (Containerd, "containerd", _ALL),
    "ctr mirror": (CtrMirror, "containerd", _TODAY),
    "cri": (Cri, "containerd", _ALL),
    "cri mirror": (CriMirror, "containerd", _TODAY),
    "podman": (Podman, None, _ALL),
    "buildah": (Buildah, None, _ALL),
    "skopeo": (Skopeo, None, _ALL),
    "crane": (Crane, None, _NEWEST),
    "oras": (Oras, None, _TODAY),
}
"""What makes each of them, whose socket of the site it has, and where it is."""


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
        for site in [CLIENTS[name][2][number % len(CLIENTS[name][2])]]
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
