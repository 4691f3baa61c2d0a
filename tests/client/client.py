"""The real container clients, behind one interface, wherever they run.

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.client.place import HERE, Place
from tests.integration.tool import SYSTEM_FOLDERS, ToolError, require_root

MIRRORED = "mirrored.example"
"""A registry that containerd is told to ask the proxy for."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def empty_environment(folder: Path) -> dict[str, str]:
    """Return an environment with an empty home, and no trace of the tester's own."""
    home = folder / "home"
    (home / "run").mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{SYSTEM_FOLDERS}:{os.environ['PATH']}",
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

    def __init__(self, folder: Path, place: Place = HERE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.place = place
        self.environment = empty_environment(folder)

    @abstractmethod
    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull the image, as somebody with that API key, and return its digest.

        Raises:
            ToolError: the client failed; the message is what its user sees.

        """

    def forget(self) -> None:  # noqa: B027 - most keep nothing where they find it
        """Remove what was pulled, so that the next pull finds nothing."""

    def _run(self, *command: str | Path, stdin: str | None = None) -> str:
        return self.place.run(*command, environment=self.environment, stdin=stdin)


class Docker(Client):
    """docker, which lets dockerd pull."""

    name = "docker"

    def __init__(self, folder: Path, socket: Path, place: Place = HERE) -> None:
        super().__init__(folder, place)
        self.url = f"unix://{socket}"
        self._path = place.find("docker")

    def docker(self, *words: str | Path, stdin: str | None = None) -> str:
        """Return what docker prints."""
        return self._run(self._path, "--host", self.url, *words, stdin=stdin)

    def pull(self, reference: str, key: str | None = None) -> str:
        """Log in if there is a key, and pull."""
        with self._logged_in(reference.partition("/")[0], key):
            return self._fetch(reference)

    def _fetch(self, reference: str) -> str:
        return digest_in(self.docker("pull", reference))

    @contextmanager
    def _logged_in(self, host: str, key: str | None) -> Iterator[None]:
        if key is None:
            yield
            return
        self.login(host, key)
        try:
            yield
        finally:
            self.docker("logout", host)

    def login(self, host: str, key: str) -> str:
        """Log in with any user name and the key as password."""
        return self.docker("login", "-u", "u", "--password-stdin", host, stdin=key)

    def pull_all(self, name: str) -> list[str]:
        """Pull every tag of the repository, and return the digests."""
        return _DIGEST.findall(self.docker("pull", "--all-tags", name))

    def forget(self) -> None:
        """Remove all images, of this client and others."""
        self.docker("image", "prune", "--all", "--force")


class Containerd(Client):
    """containerd, by its own command line."""

    name = "ctr"
    transport: tuple[str, ...] = ("--plain-http",)

    def __init__(self, folder: Path, socket: Path, place: Place = HERE) -> None:
        super().__init__(folder, place)
        self._images = (place.find("ctr"), "--address", socket, "images")

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull; containerd wants the tag written out."""
        reference = with_tag(reference)
        login = () if key is None else ("--user", f"u:{key}")
        self._run(*self._images, "pull", *self.transport, *login, reference)
        try:
            rows = self._run(*self._images, "ls", f"name=={reference}")
            return digest_in(rows)
        finally:
            self._run(*self._images, "rm", "--sync", reference)


class _Builder(Client):
    """Podman or buildah, which build as well, and keep images in a folder."""

    transport: tuple[str, ...] = ("--tls-verify=false",)
    _show_digest: tuple[str, ...]
    """What prints the digest of the image whose name is added."""

    def __init__(self, folder: Path, place: Place = HERE) -> None:
        super().__init__(folder, place)
        require_root(self.name)
        self._command = (
            *(place.find(self.name), "--root", folder / "storage"),
            *("--runroot", _short_folder(), "--storage-driver", "vfs"),
        )

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull, and ask for the digest of what came."""
        self._with_key("pull", key, reference)
        return self._digest(reference)

    def build_on(self, references: Sequence[str], key: str | None = None) -> set[str]:
        """Build an image of all these, and return the digests of what it is made of."""
        write_dockerfile(self.folder, references)
        self._with_key("build", key, self.folder)
        return set(map(self._digest, references))

    def forget(self) -> None:
        """Remove all images."""
        self._run(*self._command, "rmi", "--all", "--force")

    def _with_key(self, command: str, key: str | None, what: str | Path) -> None:
        login = () if key is None else ("--creds", f"u:{key}")
        self._run(*self._command, command, *self.transport, *login, what)

    def _digest(self, reference: str) -> str:
        # Podman 6 warns of old kernels beside it; buildah has a row for each name.
        return digest_in(self._run(*self._command, *self._show_digest, reference))


class Podman(_Builder):
    """podman."""

    name = "podman"
    _show_digest = ("image", "inspect", "--format", "{{.Digest}}")


class Buildah(_Builder):
    """buildah."""

    name = "buildah"
    _show_digest = ("images", "--format", "{{.Digest}}")


class Skopeo(Client):
    """skopeo, which copies to a folder."""

    name = "skopeo"
    transport: tuple[str, ...] = ("--src-tls-verify=false",)

    def __init__(self, folder: Path, place: Place = HERE) -> None:
        super().__init__(folder, place)
        self._skopeo = place.find("skopeo")

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
        verify = ("--cert-dir", authorities) if authorities else ("--tls-verify=false",)
        shown = self._run(self._skopeo, "inspect", *verify, f"docker://{reference}")
        image: Mapping[str, str] = json.loads(shown)
        return image

    def push(self, reference: str) -> None:
        """Copy to a registry what was pulled."""
        places = (f"dir:{self.folder / 'copy'}", f"docker://{reference}")
        self._run(self._skopeo, "copy", "--all", "--dest-tls-verify=false", *places)

    def pull_all(self, name: str) -> list[str]:
        """Copy every tag of the repository, and return the digests in their order."""
        places = ("--src", "docker", "--dest", "dir", name, self.folder / "all")
        self._run(self._skopeo, "sync", *self.transport, *places)
        manifests = sorted((self.folder / "all").rglob("manifest.json"))
        shown = (self._run(self._skopeo, "manifest-digest", m) for m in manifests)
        return [digest.strip() for digest in shown]


class BuildKit(Docker):
    """`docker build`, whose base images BuildKit gets."""

    def build_on(self, references: Sequence[str], key: str | None = None) -> set[str]:
        """Build an image of all these, and return the digests of what it is made of."""
        write_dockerfile(self.folder, references)
        self.environment["DOCKER_BUILDKIT"] = "1"
        if self.place is not HERE:
            self.place.find("docker-buildx")
        host = references[0].partition("/")[0]
        options = ("--pull", "--no-cache", "--progress=plain")
        with self._logged_in(host, key):
            printed = self.docker("build", *options, self.folder)
        return digests_in(printed, rf"{host}/\S*@")

    def forget(self) -> None:
        """Remove all images, and what BuildKit keeps of them."""
        self.docker("system", "prune", "--all", "--force")

    def _fetch(self, reference: str) -> str:
        (digest,) = self.build_on([reference])
        return digest


class Compose(Docker):
    """`docker compose pull`, version 2."""

    def _fetch(self, reference: str) -> str:
        self.place.find("docker-compose")
        path = self.folder / "compose.yaml"
        path.write_text(json.dumps({"services": {"one": {"image": reference}}}))
        self.docker("compose", "--file", path, "pull")
        command = ("image", "inspect", "--format", "{{.RepoDigests}}", reference)
        return digest_in(self.docker(*command))


class ManifestInspect(Docker):
    """`docker manifest inspect`, in which docker itself asks the registry."""

    transport = ("--insecure",)

    def _fetch(self, reference: str) -> str:
        command = ("manifest", "inspect", *self.transport, "--verbose", reference)
        return digest_in(json.loads(self.docker(*command))["Descriptor"]["digest"])


class ImageTools(Docker):
    """`docker buildx imagetools inspect`, in which buildx asks the registry."""

    def _fetch(self, reference: str) -> str:
        self.place.find("docker-buildx")
        return digest_in(self.docker("buildx", "imagetools", "inspect", reference))


class CtrMirror(Containerd):
    """`ctr`, for which the proxy is a mirror of another registry."""

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull what that registry has under the name."""
        hosts = self.folder / "certs.d"
        mirrored = name_in_mirror(hosts, reference, is_plain=bool(self.transport))
        self.transport = ("--hosts-dir", str(hosts))
        return super().pull(mirrored, key)


class Crane(Client):
    """crane, which saves an image as a folder."""

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._crane = place.find("crane")

    def pull(self, reference: str, key: str | None = None) -> str:
        """Log in if there is a key, and pull."""
        if key is not None:
            login = ("auth", "login", "-u", "u", "--password-stdin")
            self._run(self._crane, *login, reference.partition("/")[0], stdin=key)
        target = self.folder / "image"
        options = ("--format", "oci", *self.transport)
        self._run(self._crane, "pull", *options, reference, target)
        index = json.loads((target / "index.json").read_text())
        return digest_in(index["manifests"][-1]["digest"])


class Oras(Client):
    """oras, which copies to a folder."""

    transport: tuple[str, ...] = ("--from-plain-http",)

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._oras = place.find("oras")

    def pull(self, reference: str, key: str | None = None) -> str:
        """Copy the image; oras wants the tag written out."""
        login = () if key is None else ("--from-username", "u", "--from-password", key)
        printed = self._run(
            *(self._oras, "copy", *self.transport, *login, with_tag(reference)),
            *("--to-oci-layout", f"{self.folder / 'layout'}:copy"),
        )
        (digest,) = digests_in(printed, "Digest: ")
        return digest


@contextmanager
def docker_engine(
    folder: Path,
    place: Place = HERE,
    *,
    keeps_in_containerd: bool = False,
    insecure: Sequence[str] = (),
    driver: str = "vfs",
) -> Iterator[tuple[Path, Path]]:
    """Run dockerd with its containerd; yield the sockets of both.

    It has the driver's store, of which "" is the machine's best, or containerd's.
    """
    require_root("dockerd")
    socket, config = folder / "docker.sock", folder / "daemon.json"
    docker = Docker(folder, socket, place)

    def is_ready() -> bool:
        try:
            docker.docker("version")
        except ToolError:
            return False
        return True

    store = {"containerd-snapshotter": True} if keeps_in_containerd else {}
    options = {"features": store, "insecure-registries": list(insecure)}
    config.write_text(json.dumps(options))
    command: list[str | Path] = [
        *(place.find("dockerd"), "--host", docker.url),
        *("--data-root", folder / "data", "--exec-root", folder / "exec"),
        *("--pidfile", folder / "pid", "--config-file", config),
        *("--storage-driver", "native" if keeps_in_containerd else driver),
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),
    ]
    log = folder / "dockerd.log"
    with place.running(command, is_ready, log=log, environment=docker.environment):
        yield socket, folder / "exec" / "containerd" / "containerd.sock"


def _short_folder() -> str:
    """Return a folder for sockets; podman takes no path of more than 50 characters."""
    folder = tempfile.mkdtemp(prefix="run-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def digest_in(text: str) -> str:
    """Return the first digest."""
    match = _DIGEST.search(text)
    if match is None:
        raise ToolError(f"no digest in {text!r}")
    return match[0]


def digests_in(text: str, mark: str) -> set[str]:
    """Return the digests after the mark, which is a regular expression."""
    return set(re.findall(f"{mark}({_DIGEST.pattern})", text))


def write_dockerfile(folder: Path, references: Sequence[str]) -> None:
    """Write one with a stage for each of the images, all of which are needed."""
    stages = [f"FROM {name} AS stage{at}" for at, name in enumerate(references)]
    copies = [
        f"COPY --from=stage{at} /release.txt /{at}.txt" for at in range(len(stages))
    ]
    lines = [*stages, "FROM scratch", *copies, "LABEL test=built", ""]
    (folder / "Dockerfile").write_text("\n".join(lines))


def with_tag(reference: str) -> str:
    """Return the reference with its tag, where that goes without saying."""
    last = reference.rpartition("/")[2]
    return reference if {":", "@"} & set(last) else f"{reference}:latest"


def name_in_mirror(hosts: Path, reference: str, *, is_plain: bool) -> str:
    """Make the host of the reference a mirror, and return what it is then called."""
    host, _, name = reference.partition("/")
    url = f"{'http' if is_plain else 'https'}://{host}"
    folder = hosts / MIRRORED
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.toml").write_text(
        f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    return f"{MIRRORED}/{name}"
