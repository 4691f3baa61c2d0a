"""Clients that Debian 12 has not, or that are used in other ways than a plain pull."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.integration.client import (
    Client,
    Containerd,
    Docker,
    digest_in,
    digests_in,
    with_tag,
    write_dockerfile,
)
from tests.integration.place import HERE, Place
from tests.today.cri import Cri

MIRRORED = "mirrored.example"
"""A registry that containerd is told to ask the proxy for."""


class BuildKit(Docker):
    """`docker build` of today, whose base images BuildKit gets."""

    def build_on(self, references: Sequence[str], key: str | None = None) -> set[str]:
        """Build an image of all these, and return the digests of what it is made of."""
        write_dockerfile(self.folder, references)
        options = ("--pull", "--no-cache", "--progress=plain")
        environment = {**self.environment, "DOCKER_BUILDKIT": "1"}
        if self.place is not HERE:
            self.place.find("docker-buildx")
        host = references[0].partition("/")[0]
        with self._logged_in(host, key):
            printed = self.place.run(
                *(*self._docker, "build", *options, self.folder),
                environment=environment,
            )
        return digests_in(printed, rf"{host}/\S*@")

    def forget(self) -> None:
        """Remove all images, and what BuildKit keeps of them."""
        self._run(*self._docker, "system", "prune", "--all", "--force")

    def _fetch(self, reference: str) -> str:
        (digest,) = self.build_on([reference])
        return digest


class Compose(Docker):
    """`docker compose pull`, version 2."""

    def _fetch(self, reference: str) -> str:
        self.place.find("docker-compose")
        path = self.folder / "compose.yaml"
        path.write_text(json.dumps({"services": {"one": {"image": reference}}}))
        self._run(*self._docker, "compose", "--file", path, "pull")
        command = ("image", "inspect", "--format", "{{.RepoDigests}}", reference)
        return digest_in(self._run(*self._docker, *command))


class ManifestInspect(Docker):
    """`docker manifest inspect`, in which docker itself asks the registry."""

    transport = ("--insecure",)

    def _fetch(self, reference: str) -> str:
        command = ("manifest", "inspect", *self.transport, "--verbose", reference)
        shown = json.loads(self._run(*self._docker, *command))
        return digest_in(shown["Descriptor"]["digest"])


class ImageTools(Docker):
    """`docker buildx imagetools inspect`, in which buildx asks the registry."""

    def _fetch(self, reference: str) -> str:
        self.place.find("docker-buildx")
        command = ("buildx", "imagetools", "inspect", reference)
        return digest_in(self._run(*self._docker, *command))


class CtrMirror(Containerd):
    """`ctr`, for which the proxy is a mirror of another registry."""

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull what that registry has under the name."""
        hosts = self.folder / "certs.d"
        mirrored = _mirrored(hosts, reference, is_plain=bool(self.transport))
        self.transport = ("--hosts-dir", str(hosts))
        return super().pull(mirrored, key)


class CriMirror(Cri):
    """containerd as Kubernetes uses it, with the proxy as a mirror."""

    transport = ("a URL with http",)

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull what that registry has under the name."""
        hosts = self._socket.parent / "certs.d"
        mirrored = _mirrored(hosts, reference, is_plain=bool(self.transport))
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


def _mirrored(hosts: Path, reference: str, *, is_plain: bool) -> str:
    """Make the host of the reference a mirror, and return what it is then called."""
    host, _, name = reference.partition("/")
    url = f"{'http' if is_plain else 'https'}://{host}"
    folder = hosts / MIRRORED
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.toml").write_text(
        f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    return f"{MIRRORED}/{name}"
