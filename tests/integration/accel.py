"""nginx that fetches, keeps and sends blobs, in front of a proxy that decides."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.proxy import Proxy
from registry_proxy.port import free_port
from tests.integration.way import nginx_with

BY_NGINX = {"BLOBS": "nginx", "TRUST_PROXY": "true"}
LOUD = ("--set", "termlog_verbosity=debug", "--flow-detail", "4")
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True)
class Front:
    """nginx and the proxy behind it."""

    port: int
    """Of nginx."""
    proxy: Proxy
    folder: Path

    @property
    def host(self) -> str:
        """Host and port, as they stand in references."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """Where clients reach nginx."""
        return f"http://{self.host}"

    @property
    def log(self) -> str:
        """All that nginx and the proxy wrote."""
        names = ("access.log", "nginx.log")
        return self.proxy.log + "".join((self.folder / n).read_text() for n in names)

    @property
    def fetches(self) -> list[str]:
        """The lines about what nginx fetched."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [line for line in lines if " fetch " in line]

    def kept(self) -> list[Path]:
        """Return the files in the cache."""
        return [p for p in (self.folder / "nginx" / "blobs").rglob("*") if p.is_file()]


@contextmanager
def caching(
    registry_url: str,
    folder: Path,
    *arguments: str,
    changes: Mapping[str, str] | None = None,
    **variables: str,
) -> Iterator[Front]:
    """Run both, as they are deployed."""
    port = free_port()
    (folder / "nginx").mkdir(parents=True)
    with Proxy(
        registry_url, environment=BY_NGINX | variables, arguments=arguments
    ) as proxy:
        here = {
            "listen 8080;": f"listen {port};",
            "server cached:8080 ": f"server 127.0.0.1:{proxy.port} ",
            "/var/cache/nginx": f"{folder}/nginx",
            "/run/registry-proxy": str(folder),
            "/var/log/nginx": str(folder),
        }
        # The folder is root's alone, and so are the workers.
        with nginx_with(
            "cache.conf", folder, port, here | dict(changes or {}), "user root;"
        ):
            yield Front(port, proxy, folder)
