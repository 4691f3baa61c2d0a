"""`make demo`: it pulls, says how it went, and leaves nothing running."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from registry_proxy import ROOT

SECONDS = 60


@contextmanager
def demo(**variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo, in a process group of its own, as a terminal would."""
    process = subprocess.Popen(
        [sys.executable, "-m", "registry_proxy", "demo"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if is_group_running(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def is_group_running(group: int) -> bool:
    """Return whether any process of the group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_log_of_other_pulls_is_shown() -> None:
    """What another terminal asks for has its line here, and then Ctrl-C ends it."""
    with demo(PROXY_PORT="0") as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        url = next(
            line.split()[-1] for line in lines if line.startswith("registry pro")
        )
        next(line for line in lines if "Ctrl-C ends everything." in line)
        requests.get(f"{url}/v2/alpine/manifests/latest", timeout=SECONDS)
        line = next(line for line in lines if "manifest latest of alpine" in line)
        assert " WARNING [127.0.0.1:" in line
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SECONDS) == 0


def test_once_ends_with_the_status_of_the_pull() -> None:
    """ONCE=1 pulls, ends with status 0, and nothing of it goes on."""
    with demo(ONCE="1") as process:
        printed, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert not is_group_running(process.pid)
    assert "Pulled 6.3 MB, all digests as they should be." in printed
    assert printed.count(" checked") > 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(number: signal.Signals) -> None:
    """It serves until Ctrl-C or its like, and then leaves nothing running."""
    with demo() as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if line == "Ctrl-C ends everything.\n":
                break
        (host,) = re.findall(r"registry proxy: http://(\S+)", printed)
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"http://{host}/ping", timeout=SECONDS).text == "pong"
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert not is_group_running(process.pid)


WAITING = """
import os, signal, threading
from demo.terminal import LOOK_SECONDS, until_ended

def send():
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)

with until_ended() as wait:
    try:
        threading.Timer(0.1, send).start()
        while not wait(LOOK_SECONDS):
            pass
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("cleaned up")
"""


def test_signals_that_come_together_end_it() -> None:
    """As those of `timeout make demo`, which make passes on once more."""
    process = subprocess.run(
        [sys.executable, "-c", WAITING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS / 6,
        check=True,
    )
    assert process.stdout == "cleaned up\n\nEnded.\n"
