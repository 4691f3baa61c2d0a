"""The real container clients, behind one interface.

Each keeps all its state in a folder of its own, so that no test meets the leftovers
of another and nothing of the user's is read or written.
"""

import atexit
import json
import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.tool import ToolError, find_tool, require_root, run, running

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment with an empty home, and no trace of the tester's own."""
    home = folder / "home"
    (home / "run").mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
    }


class Client(ABC):
    """A program that pulls images."""

    name: str
    transport: tuple[str, ...] = ()
    """Its options for a registry without TLS; a test of TLS sets others."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = _environment(folder)

    @abstractmethod
    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull the image, as somebody with that API key, and return its digest.

        Raises:
            ToolError: the client failed; the message is what its user sees.

        """

    def _run(self, *command: str | Path, stdin: str | None = None) -> str:
        return run(*command, environment=self.environment, stdin=stdin)


class Docker(Client):
    """dockerd and docker, with the classic image store."""

    name = "docker"

    def __init__(self, folder: Path, socket: Path) -> None:
        super().__init__(folder)
        self.url = f"unix://{socket}"
        self._docker = (find_tool("docker"), "--host", self.url)

    def pull(self, reference: str, key: str | None = None) -> str:
        """Log in if there is a key, and pull."""
        host = reference.partition("/")[0]
        if key is None:
            return _digest(self._run(*self._docker, "pull", reference))
        self.login(host, key)
        try:
            return _digest(self._run(*self._docker, "pull", reference))
        finally:
            self._run(*self._docker, "logout", host)

    def login(self, host: str, key: str) -> str:
        """Log in with any user name and the key as password."""
        return self._run(
            *self._docker, "login", "-u", "u", "--password-stdin", host, stdin=key
        )

    def pull_all(self, name: str) -> list[str]:
        """Pull every tag of the repository, and return the digests."""
        return _DIGEST.findall(self._run(*self._docker, "pull", "--all-tags", name))

    def forget(self) -> None:
        """Remove all images, so that the next pull finds an empty engine."""
        self._run(*self._docker, "image", "prune", "--all", "--force")

    def push(self, reference: str) -> str:
        """Push the image under the name."""
        return self._run(*self._docker, "push", reference)

    def build(self, reference: str) -> str:
        """Build an image on top of the one that is named, and return its labels."""
        (self.folder / "Dockerfile").write_text(f"FROM {reference}\nLABEL test=built\n")
        command = ("build", "--pull", "--tag", "built", self.folder)
        environment = {**self.environment, "DOCKER_BUILDKIT": "0"}
        run(*self._docker, *command, environment=environment)
        return self._run(
            *self._docker, "image", "inspect", "--format", "{{json .}}", "built"
        )


class Containerd(Client):
    """containerd, by its own command line."""

    name = "ctr"
    transport: tuple[str, ...] = ("--plain-http",)

    def __init__(self, folder: Path, socket: Path) -> None:
        super().__init__(folder)
        self._images = (find_tool("ctr"), "--address", socket, "images")

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull; containerd wants the tag written out."""
        reference = _with_tag(reference)
        login = () if key is None else ("--user", f"u:{key}")
        self._run(*self._images, "pull", *self.transport, *login, reference)
        try:
            rows = self._run(*self._images, "ls", f"name=={reference}")
            return _digest(rows)
        finally:
            self._run(*self._images, "rm", "--sync", reference)


class Podman(Client):
    """podman."""

    name = "podman"
    transport: tuple[str, ...] = ("--tls-verify=false",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        require_root("podman")
        self._podman = (
            *(find_tool("podman"), "--root", folder / "storage"),
            *("--runroot", _short_folder(), "--storage-driver", "vfs"),
        )

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull, and ask for the digest of what came."""
        command = ("pull", *self.transport, *_credentials(key), reference)
        self._run(*self._podman, *command)
        return self._run(
            *self._podman, "image", "inspect", "--format", "{{.Digest}}", reference
        ).strip()


class Buildah(Client):
    """buildah."""

    name = "buildah"
    transport: tuple[str, ...] = ("--tls-verify=false",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        require_root("buildah")
        self._buildah = (
            *(find_tool("buildah"), "--root", folder / "storage"),
            *("--runroot", _short_folder(), "--storage-driver", "vfs"),
        )

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull, and ask for the digest of what came."""
        command = ("pull", *self.transport, *_credentials(key), reference)
        self._run(*self._buildah, *command)
        rows = self._run(*self._buildah, "images", "--format", "{{.Digest}}", reference)
        # One row for each name of the image.
        (digest,) = set(rows.split())
        return digest


class Skopeo(Client):
    """skopeo, which copies to a folder."""

    name = "skopeo"
    transport: tuple[str, ...] = ("--src-tls-verify=false",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._skopeo = find_tool("skopeo")

    def pull(self, reference: str, key: str | None = None) -> str:
        """Copy every platform of the image, and return the digest of its manifest."""
        target = self.folder / "copy"
        self._run(
            *(self._skopeo, "copy", "--all", *self.transport),
            *(() if key is None else ("--src-creds", f"u:{key}")),
            *(f"docker://{reference}", f"dir:{target}"),
        )
        digest = self._run(self._skopeo, "manifest-digest", target / "manifest.json")
        return digest.strip()

    def inspect(
        self, reference: str, *, authorities: Path | None = None
    ) -> Mapping[str, str]:
        """Return what skopeo shows of the image; verified, if there are authorities."""
        verify = (
            ("--tls-verify=false",)
            if authorities is None
            else ("--cert-dir", authorities)
        )
        shown = self._run(self._skopeo, "inspect", *verify, f"docker://{reference}")
        image: Mapping[str, str] = json.loads(shown)
        return image

    def pull_all(self, name: str) -> list[str]:
        """Copy every tag of the repository, and return the digests in their order."""
        places = ("--src", "docker", "--dest", "dir", name, self.folder / "all")
        self._run(self._skopeo, "sync", *self.transport, *places)
        manifests = sorted((self.folder / "all").rglob("manifest.json"))
        shown = (self._run(self._skopeo, "manifest-digest", m) for m in manifests)
        return [digest.strip() for digest in shown]

    def tags(self, reference: str) -> list[str]:
        """Return the tags that skopeo lists."""
        shown = self._run(
            self._skopeo, "list-tags", "--tls-verify=false", f"docker://{reference}"
        )
        tags: list[str] = json.loads(shown)["Tags"]
        return tags


@contextmanager
def docker_engine(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Run dockerd with its containerd; yield the sockets of both."""
    require_root("dockerd")
    environment = _environment(folder)
    environment["PATH"] = f"/usr/sbin:/sbin:{environment['PATH']}"
    socket = folder / "docker.sock"
    docker = (find_tool("docker"), "--host", f"unix://{socket}", "version")

    def is_ready() -> bool:
        try:
            run(*docker, environment=environment)
        except ToolError:
            return False
        return True

    command: list[str | Path] = [
        *(find_tool("dockerd"), "--host", f"unix://{socket}"),
        *("--data-root", folder / "data", "--exec-root", folder / "exec"),
        *("--pidfile", folder / "pid", "--storage-driver", "vfs"),
        *("--bridge=none", "--iptables=false"),
    ]
    log = folder / "dockerd.log"
    with running(command, is_ready, log=log, environment=environment):
        yield socket, folder / "exec" / "containerd" / "containerd.sock"


def _short_folder() -> str:
    """Return a folder for sockets; podman takes no path of more than 50 characters."""
    folder = tempfile.mkdtemp(prefix="run-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _digest(text: str) -> str:
    match = _DIGEST.search(text)
    if match is None:
        raise ToolError(f"no digest in {text!r}")
    return match[0]


def _with_tag(reference: str) -> str:
    last = reference.rpartition("/")[2]
    return reference if {":", "@"} & set(last) else f"{reference}:latest"


def _credentials(key: str | None) -> tuple[str, ...]:
    return () if key is None else ("--creds", f"u:{key}")
