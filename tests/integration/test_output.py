"""Whoever takes the log, or does not, the proxy serves, and ends when it is told to."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import requests

from demo.proxy import LISTENING
from localcloud import LocalCloud
from mitm import interrupt
from mitm.option import VARIABLES
from registry_proxy import ROOT, serve
from registry_proxy.port import free_port
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import wait_until

STOP_SECONDS = 30
PIPE_SIZE = 4096
REFUSED = "/v2/alpine/manifests/latest"
SERVED_INSTEAD = 200
"""More refusals, each with a line, than a pipe of that size holds."""


@contextmanager
def running(
    cloud: LocalCloud, output: int | IO[bytes], *command: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the proxy with that as standard output and error; yield it and its URL."""
    port = free_port()
    kept = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    process = subprocess.Popen(
        command or [sys.executable, "-m", "registry_proxy", "run"],
        cwd=ROOT,
        env={
            **kept,
            "REGISTRY_URL": cloud.registry_url,
            "PROXY_PORT": str(port),
            "GRACE_PERIOD": "0",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def serves(session: requests.Session, url: str) -> bool:
    """Return whether the proxy answers."""
    try:
        return session.get(f"{url}/ping", timeout=TIMEOUT).text == "pong"
    except requests.ConnectionError:
        return False


def use(process: subprocess.Popen[bytes], url: str) -> None:
    """Have many requests refused, and end it."""
    with plain_session() as session:
        wait_until(lambda: serves(session, url), "an answer")
        for _ in range(SERVED_INSTEAD):
            assert session.get(url + REFUSED, timeout=TIMEOUT).status_code == 400
        assert serves(session, url)
    process.terminate()
    assert process.wait(STOP_SECONDS) == 0


def test_full_disk(cloud: LocalCloud) -> None:
    """The proxy starts, serves and ends as ever, and the metrics count the lines."""
    port = str(free_port())
    with (
        Path("/dev/full").open("wb") as full,
        running(cloud, full, METRICS_PORT=port) as (process, url),
        plain_session() as session,
    ):
        wait_until(lambda: serves(session, url), "an answer")
        session.get(url + REFUSED, timeout=TIMEOUT)
        page = f"http://127.0.0.1:{port}/metrics"

        def counted() -> bool:
            metrics = session.get(page, timeout=TIMEOUT).text
            name = "balena_proxy_dropped_log_lines_total "
            # The lines of the start, and that of the refusal.
            return float(metrics.partition(f"\n{name}")[2].split()[0]) > 3

        wait_until(counted, "lines that are counted as dropped")
        use(process, url)


@pytest.mark.parametrize("is_full", [False, True], ids=["empty", "full"])
def test_pipe_that_nobody_reads(cloud: LocalCloud, *, is_full: bool) -> None:
    """Nothing waits for a reader, also not where another process filled the pipe."""
    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    try:
        if is_full:
            os.write(write, bytes(size))
        with running(cloud, write) as (process, url):
            use(process, url)
    finally:
        os.close(read)
        os.close(write)


def test_pipe_whose_reader_is_gone(cloud: LocalCloud) -> None:
    """It serves those who pull all the same."""
    read, write = os.pipe()
    os.close(read)
    try:
        with running(cloud, write) as (process, url):
            use(process, url)
    finally:
        os.close(write)


def test_journal(cloud: LocalCloud) -> None:
    """Where systemd's journal reads, each line begins with its priority, and no date.

    Of its own pipe the variable says so; where output goes elsewhere it says nothing.
    """
    read, write = os.pipe()
    status = os.fstat(write)
    stream = f"{status.st_dev}:{status.st_ino}"
    with (
        os.fdopen(read) as journal,
        running(cloud, write, JOURNAL_STREAM=stream) as (_, url),
    ):
        os.close(write)
        with plain_session() as session:
            wait_until(lambda: serves(session, url), "an answer")
            session.get(url + REFUSED, timeout=TIMEOUT)
        lines = []
        for line in journal:
            lines.append(line)
            if " GET " in line:
                break
    assert any(re.match(r"<6>reverse proxy to ", line) for line in lines)
    assert re.match(r"<4>\[127\.0\.0\.1:\d+\] GET ", lines[-1])
    assert [line for line in lines if not re.match("<[3-7]>", line)] == []


def test_mitmdump_that_is_started_by_hand(cloud: LocalCloud, tmp_path: Path) -> None:
    """There too the addon lets nobody wait for a reader, once it is loaded."""
    serve.link_options(tmp_path)
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    port = free_port()
    command = (
        *(str(Path(sys.executable).parent / "mitmdump"), "-s", "addon.py"),
        *("--set", f"confdir={tmp_path}"),
        *("--mode", f"reverse:{cloud.registry_url}@127.0.0.1:{port}"),
    )
    try:
        with running(cloud, write, *command) as (process, _):
            use(process, f"http://127.0.0.1:{port}")
    finally:
        os.close(read)
        os.close(write)


def test_errors_of_the_start_are_told(cloud: LocalCloud) -> None:
    """Whoever started it reads why it ended."""
    options = "--set ignore_hosts=.*"
    with running(cloud, subprocess.PIPE, ARGS=options) as (process, _):
        told = process.communicate(timeout=STOP_SECONDS)[0].decode()
    assert process.returncode == 1
    assert "ignore_hosts: cannot be used" in told
    assert told.endswith("Error logged during startup, exiting...\n")


@pytest.mark.parametrize("command", ["run", "web"])
@pytest.mark.parametrize(
    ("moment", "statuses"),
    [
        # Modules, which Python names as it loads them: ours, then mitmproxy's.
        ("mitm.option", {interrupt.STATUS}),
        ("mitmproxy.options", {interrupt.STATUS}),
        # mitmproxy may take the signal or not yet.
        ("mitm.endpoint", {interrupt.STATUS, 0}),
        (LISTENING, {0}),
    ],
)
def test_interrupted_at_the_start(
    cloud: LocalCloud, tmp_path: Path, command: str, moment: str, statuses: set[int]
) -> None:
    """Ctrl-C is a line and status 130; once it serves it is an end like any other."""
    path = tmp_path / "log"
    words = (sys.executable, "-m", "registry_proxy", command)
    variables = {
        "ARGS": "--no-web-open-browser" if command == "web" else "",
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    with (
        path.open("wb") as log,
        running(cloud, log, *words, **variables) as (process, _),
    ):
        wait_until(lambda: moment in path.read_text(), moment)
        process.send_signal(signal.SIGINT)
        status = process.wait(STOP_SECONDS)
    said = path.read_text()
    assert status in statuses
    assert "Traceback" not in said
    assert said.encode().endswith(interrupt.LINE) == (status == interrupt.STATUS)
