"""A forward proxy as companies have them; it alone knows the names of the servers."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from registry_proxy.port import free_port
from tests.integration.tool import find_tool, listens, running

REGISTRY, STORAGE, REFUSED = "registry.test", "storage.test", "refused.test"
"""The names that it knows; it lets nobody through to the last one."""
USER, PASSWORD = "corporate", "s3cret-p@ss"
SIMPLE_PASSWORD = "s3cretpass"
"""One that tinyproxy's configuration can have."""
_LOGIN = f"""#!/bin/sh
while read -r user password; do
    [ "$user $password" = "{USER} {PASSWORD}" ] && echo OK || echo ERR
done
"""
"""What squid asks about a name and a password."""
_LINE = re.compile(r"(?P<status>\d+) (?P<method>\S+) (?P<target>\S+) (?P<user>\S+)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A line of the proxy's log."""

    status: int
    method: str
    target: str
    user: str


@dataclass(frozen=True, slots=True)
class Forward:
    """A running proxy."""

    port: int
    log: Path
    scheme: str = "http"
    password: str = PASSWORD

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def url(self, user: str = USER, password: str = "") -> str:
        """Return what to write into HTTPS_PROXY."""
        login = f"{user}:{quote(password or self.password)}@" if user else ""
        return f"{self.scheme}://{login}{self.host}"

    @property
    def passages(self) -> list[Passage]:
        """What it was asked for so far."""
        matches = map(_LINE.fullmatch, self.log.read_text().splitlines())
        return [
            Passage(int(one["status"]), one["method"], one["target"], one["user"])
            for one in matches
            if one
        ]

    def count(self, url: str) -> int:
        """Return how often it was asked for a connection to the host of a URL."""
        place = url.partition("://")[2].partition("/")[0]
        return sum(place in each.target for each in self.passages)


@contextmanager
def squid(*, has_login: bool = True) -> Iterator[Forward]:
    """Run squid, which makes tunnels to every port, and asks for a login."""
    port = free_port()
    with TemporaryDirectory(prefix="squid-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "hosts").write_text(f"127.0.0.1 {REGISTRY} {STORAGE} {REFUSED}\n")
        (folder / "login").write_text(_LOGIN)
        (folder / "login").chmod(0o755)
        (folder / "access.log").touch()
        config = folder / "squid.conf"
        config.write_text(f"""
            http_port 127.0.0.1:{port}
            hosts_file {folder}/hosts
            dns_nameservers 127.0.0.1
            forwarded_for delete
            auth_param basic program {folder}/login
            acl staff proxy_auth REQUIRED
            acl elsewhere dstdomain {REFUSED}
            http_access deny elsewhere
            http_access allow {"staff" if has_login else "all"}
            http_access deny all
            logformat passage %>Hs %rm %ru %un
            access_log stdio:{folder}/access.log passage
            buffered_logs off
            cache_log {folder}/cache.log
            cache deny all
            pid_filename {folder}/squid.pid
            coredump_dir {folder}
            shutdown_lifetime 0 seconds
        """)
        if os.geteuid() == 0:  # It lays its rights down, and keeps a log all the same.
            for path in (folder, folder / "access.log"):
                shutil.chown(path, "proxy")
        command: list[str | Path] = [find_tool("squid"), "-N", "-f", config]
        with running(command, lambda: listens(port), log=folder / "squid.err"):
            yield Forward(port, folder / "access.log")


@contextmanager
def tinyproxy(folder: Path, behind: Forward) -> Iterator[Forward]:
    """Run tinyproxy, which asks for a login, and knows no names but squid's."""
    port, config = free_port(), folder / "tinyproxy.conf"
    config.write_text(f"""
        Port {port}
        Listen 127.0.0.1
        Timeout 60
        LogFile "{folder}/tinyproxy.log"
        LogLevel Connect
        Upstream http 127.0.0.1:{behind.port}
        BasicAuth {USER} {SIMPLE_PASSWORD}
    """)
    command: list[str | Path] = [find_tool("tinyproxy"), "-d", "-c", config]
    with running(command, lambda: listens(port), log=folder / "tinyproxy.err"):
        yield Forward(port, folder / "tinyproxy.log", password=SIMPLE_PASSWORD)


@contextmanager
def encrypted(folder: Path, behind: Forward, certificate: Path) -> Iterator[Forward]:
    """Run HAProxy, which speaks TLS for another proxy."""
    port, config = free_port(), folder / "haproxy.cfg"
    config.write_text(f"""
        defaults
          mode tcp
          timeout connect 5s
          timeout client 60s
          timeout server 60s
        listen proxy
          bind 127.0.0.1:{port} ssl crt {certificate}
          server squid 127.0.0.1:{behind.port}
""")
    command: list[str | Path] = [find_tool("haproxy"), "-db", "-f", config]
    with running(command, lambda: listens(port), log=folder / "haproxy.err"):
        yield replace(behind, port=port, scheme="https")
