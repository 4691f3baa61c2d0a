"""A storage that the proxy reaches and no client does, because none knows its name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_proxy.port import free_port
from tests.integration.tool import find_tool, listens, running

NAME = "storage.test"
ADDRESS = "127.0.0.1"
AGENT = "balena-registry-proxy"
SCRIPT = ("-s", str(Path(__file__).with_name("names.py")))
"""What mitmdump needs to know the name; see `known_to_the_proxy`."""
_LINE = re.compile(r"\S+ \S+ (?P<connection>\d+) (?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A request that the storage saw."""

    connection: int
    """The number that nginx gave it."""
    rest: str
    """Host, user agent, and ``Authorization`` or a hyphen."""


@dataclass(frozen=True, slots=True)
class Nginx:
    """nginx on the storage folder of a registry."""

    port: int
    url: str
    _log: Path

    @property
    def fetched(self) -> list[Fetched]:
        """What was asked of it so far."""
        matches = map(_LINE.fullmatch, self._log.read_text().splitlines())
        return [
            Fetched(int(match["connection"]), match["rest"])
            for match in matches
            if match
        ]


def known_to_the_proxy(
    monkeypatch: pytest.MonkeyPatch, *addresses: str, name: str = NAME
) -> None:
    """Let a proxy that is started with `SCRIPT` find the name at the addresses."""
    monkeypatch.setenv("KNOWN_HOSTS", f"{name}={','.join(addresses or (ADDRESS,))}")


@contextmanager
def nginx(folder: Path, server: str, *, tls: Path | None = None) -> Iterator[int]:
    """Run nginx with such a server, with TLS and HTTP/2 or plain; yield its port."""
    port, config = free_port(), folder / "storage.conf"
    listen = f"listen {ADDRESS}:{port}{' ssl http2' if tls else ''};"
    if tls:
        listen += f" ssl_certificate {tls}; ssl_certificate_key {tls};"
    # The user is root, because the storage lies in a folder that is root's alone.
    config.write_text(f"""
        daemon off; user root; pid {folder}/storage.pid; error_log stderr;
        events {{}}
        http {{
          log_format seen '$request_method $request_uri $connection '
            '$http_host $http_user_agent $http_authorization';
          access_log {folder}/storage.log seen;
          client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
          scgi_temp_path {folder}/scgi;
          server {{ {listen} {server} }}
        }}
    """)
    command: list[str | Path] = [find_tool("nginx"), "-c", config]
    with running(command, lambda: listens(port), log=folder / "storage.err"):
        yield port


@contextmanager
def storing(folder: Path) -> Iterator[Nginx]:
    """Serve the folder's `storage`."""
    with nginx(folder, f"root {folder}/storage;") as port:
        yield Nginx(port, f"http://{NAME}:{port}", folder / "storage.log")
