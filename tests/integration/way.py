"""The ways in which a client reaches the proxy by TLS, and what it is told to trust."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mitmproxy.certs import Cert

from demo.proxy import Proxy
from registry_proxy import ROOT, trust
from registry_proxy.port import free_port
from tests.authority import Authority
from tests.client.machine import ADDRESS, NAME, Machine
from tests.client.place import HERE, Place
from tests.integration.tool import find_tool, listens, running

NGINX = ROOT / "deploy" / "nginx"
"""Its configurations, and what they include."""
SAVE = "Linux, macOS"
SYSTEM = "Debian"
USER = "podman, buildah, skopeo, for one user"
_EVERYWHERE = {"LISTEN_HOST": "0.0.0.0"}
_SECTION = re.compile(rf"^{trust.HEADING}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Way:
    """A proxy that is served by TLS."""

    host: str
    instructions: str
    """What its operator hands out to clients."""

    def commands(self, kind: str) -> str:
        """Return the instructions for the clients whose heading begins like that."""
        sections = _SECTION.split(self.instructions)
        return next(section for section in sections if section.startswith(kind))


@contextmanager
def signed_by_mitmproxy(
    registry_url: str, folder: Path, name: str = NAME
) -> Iterator[Way]:
    """Let mitmproxy make the certificate; what clients have to do is known before."""
    port = free_port()
    variables = {"CONFDIR": str(folder / "confdir"), "PROXY_PORT": str(port)}
    tls = {"TLS": "authority"}
    way = Way(f"{name}:{port}", trust.describe_trust(name, variables))
    with Proxy(registry_url, port=port, environment=_EVERYWHERE | variables | tls):
        yield way


@contextmanager
def with_own_certificate(
    registry_url: str, authority: Authority, folder: Path, **variables: str
) -> Iterator[Way]:
    """Show one's own; {own}, {chain} and {key} in a variable stand for its files."""
    own = authority.server_file(folder, NAME, ADDRESS)
    chain, mark, key = own.read_text().partition("-----BEGIN PRIVATE")
    files = {"own": own, "chain": folder / "chain.pem", "key": folder / "key.pem"}
    files["chain"].write_text(chain)
    files["key"].write_text(mark + key)
    given = {name: value.format_map(files) for name, value in variables.items()}
    with Proxy(registry_url, environment=_EVERYWHERE | given) as proxy:
        yield _way(f"{NAME}:{proxy.port}", authority, folder)


@contextmanager
def behind_nginx(
    registry_url: str, authority: Authority, folder: Path, **variables: str
) -> Iterator[Way]:
    """End TLS in nginx; {host} in a variable of the proxy stands for nginx's."""
    port = free_port()
    host = f"{NAME}:{port}"
    environment = {name: value.format(host=host) for name, value in variables.items()}
    with (
        Proxy(registry_url, environment=environment) as proxy,
        nginx(authority, folder, port, [proxy.port]),
    ):
        yield _way(host, authority, folder)


@contextmanager
def nginx(
    authority: Authority, folder: Path, port: int, replicas: Sequence[int]
) -> Iterator[None]:
    """Run nginx as it is deployed, but for the addresses and the certificate."""
    own = authority.server_file(folder, NAME, ADDRESS)
    changes = {
        "listen 443 ssl;": f"listen {port} ssl;",
        "/etc/nginx/tls/fullchain.pem": str(own),
        "/etc/nginx/tls/privkey.pem": str(own),
        "server 127.0.0.1:8080 max_fails=0;": "".join(
            f"server 127.0.0.1:{each} max_fails=0;" for each in replicas
        ),
    }
    with nginx_with("nginx.conf", folder, port, changes):
        yield


@contextmanager
def nginx_with(
    name: str, folder: Path, port: int, changes: Mapping[str, str], process: str = ""
) -> Iterator[None]:
    """Run nginx with a configuration as it is deployed, but for these changes."""
    for file in NGINX.glob("*.conf"):
        shutil.copy(file, folder)
    config = folder / name
    text = config.read_text()
    for deployed, here in changes.items():
        assert deployed in text, f"{deployed} is no longer there"
        text = text.replace(deployed, here)
    config.write_text(text)
    process += f"daemon off; pid {folder}/nginx.pid; error_log stderr;"
    command: list[str | Path] = [find_tool("nginx"), "-c", config, "-g", process]
    with running(command, lambda: listens(port), log=folder / "nginx.log"):
        yield


def follow(
    machine: Machine, way: Way, folder: Path, *kinds: str, place: Place = HERE
) -> None:
    """Paste the instructions into a shell on the machine, in that folder.

    What is asked of systemctl stands in a file of that name.
    """
    home, bin_ = folder / "home", folder / "bin"
    bin_.mkdir(exist_ok=True)
    for name, script in (
        ("sudo", 'exec "$@"'),
        ("systemctl", f"echo \"$@\" >>'{folder}/systemctl'"),
    ):
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    path = f"{bin_}:/usr/sbin:/usr/bin:/sbin:/bin"
    text = "\n".join(f"# {way.commands(kind)}" for kind in kinds)
    machine.call(
        lambda: place.run(
            *("/bin/sh", "-euc", f"cd '{folder}'\n{text}"),
            environment={"PATH": path, "HOME": str(home)},
        )
    )


def _way(host: str, authority: Authority, folder: Path) -> Way:
    """Return what clients are told of an authority that is not mitmproxy's."""
    path = Path(authority.write_file(folder / "authority.pem"))
    return Way(host, trust.instructions(host, path, Cert.from_pem(path.read_bytes())))
