"""The programs that the tests run beside Python: found, or a reason to skip."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from demo.proxy import Proxy
from registry_proxy import ROOT

COMMAND_SECONDS = 120
START_SECONDS = 60
STOP_SECONDS = 20
SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where Debian's packages put servers, also outside of root's PATH."""
PACKAGES = {
    "buildah": "buildah",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "containerd": "docker.io",
    "ctr": "docker.io",
    "curl": "curl",
    "docker": "docker.io",
    "docker-compose": "docker-compose",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "flock": "util-linux",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "kubectl": "kubectl",
    "mount": "util-linux",
    "node": "npm",
    "npm": "npm",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "podman": "podman",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "skopeo": "skopeo",
    "squid": "squid",
    "tinyproxy": "tinyproxy",
    "systemd-analyze": "systemd",
    "umount": "util-linux",
    "unshare": "util-linux",
    "update-ca-certificates": "ca-certificates",
    "wget": "wget",
}
"""What has each program, as CONTRIBUTING.md names it: mostly Debian's packages."""


class ToolError(RuntimeError):
    """A program ended with an error; the message is what it printed."""


def find_tool(name: str) -> str:
    """Return the program's path, the packaged one first.

    Where it is missing the test is skipped, or fails if REQUIRE_TOOLS is set.
    """
    path = shutil.which(name, path=f"{SYSTEM_FOLDERS}:{os.environ.get('PATH', '')}")
    if path is None:
        miss(f"{name} is not there: install {PACKAGES[name]}")
    return path


def miss(reason: str, *, is_demanded: bool = True) -> NoReturn:
    """Skip the test, or fail it if REQUIRE_TOOLS is set and what it misses demanded."""
    if is_demanded and os.environ.get("REQUIRE_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)


def require_root(name: str) -> None:
    """Skip the test, or fail it, unless root runs it."""
    if os.geteuid() != 0:
        miss(f"{name} needs root here")


def run(
    *command: str | Path, environment: Mapping[str, str], stdin: str | None = None
) -> str:
    """Return what a program prints; raise ToolError where it fails."""
    done = subprocess.run(
        command,
        env=dict(environment),
        input=stdin,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(done.stdout)
    return done.stdout


@contextmanager
def running(
    command: Sequence[str | Path],
    is_ready: Callable[[], bool],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own until the context ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or is_ready(), str(command[0]))
        if process.poll() is not None:
            raise ToolError(f"{command[0]} ended:\n{log.read_text()[-3000:]}")
        yield process
    finally:
        _end(process)


def wait_for_start(proxy: Proxy) -> None:
    """Return once the proxy has asked registry and API whether they are there."""
    told = re.compile("the API (http|cannot)")
    wait_until(lambda: told.search(proxy.log) is not None, "the API was asked")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as the condition holds."""
    last = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > last:
            raise ToolError(f"{what}: not within {START_SECONDS} seconds")
        time.sleep(0.02)  # Between two looks; it is the condition that is waited for.


def has_traceback(log: str) -> bool:
    """Return whether code of ours failed; mitmproxy, told to end, may itself."""
    return any(f'File "{ROOT}/{part}' in log for part in ("addon.py", "mitm/"))


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether somebody accepts connections on a port of loopback."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
