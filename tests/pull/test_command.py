"""The command: what it prints where, and how it ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.relay import Failure
from localcloud.relay import Fault as Cut
from registry_proxy import ROOT
from registry_proxy.command import main
from tests.integration.tool import wait_until
from tests.pull.site import MARK, NAME, Site


def test_pull(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The steps go to standard output, and a good pull has no error."""
    reference = f"{site.registry.host}/{NAME}"
    assert main(["pull", reference, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0] == f"Pulling {NAME}, latest, from {site.registry.url}"
    assert lines[-1] == (
        f"Pulled 256.0 kB to {tmp_path}, all digests as they should be."
    )
    assert main(["pull", reference, "--check"]) == 0
    assert capsys.readouterr().out.endswith("All of it can be pulled: 256.0 kB.\n")
    assert main(["pull", reference, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_host_is_the_proxy_of_this_machine(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name alone is pulled from the port that the proxy has."""
    port = site.registry.host.rpartition(":")[2]
    # It listens there, though not at every address of that name.
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert main(["pull", NAME, "--proxy-port", port, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_fault(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong and the next step are two lines of standard error."""
    site.challenge = "Bearer nonsense"
    assert main(["pull", f"{site.registry.host}/{NAME}", "--quiet"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    first, second = printed.err.splitlines()
    assert first.startswith(f"error (realm): the registry {site.registry.host} answers")
    assert second.startswith("next: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_nothing_begun(
    site: Site, tmp_path: Path, number: signal.Signals
) -> None:
    """A pull that somebody ends has a line and a status, and no part of a blob."""
    site.line.fail(Cut(Failure.STALL, MARK, 100_000))
    words = ("pull", f"{site.registry.host}/{NAME}", "--output", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-m", "registry_proxy", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # The configuration has two bytes, and does not come whole either.
        wait_until(lambda: bool(list(tmp_path.rglob(".partial*"))), "the blob")
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "registry proxy: interrupted\n")
    assert not list(tmp_path.rglob(".partial*"))


def test_insecure_is_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody forgets that certificates are not verified."""
    assert main(["pull", f"{site.registry.host}/{NAME}", "--insecure"]) == 0
    assert "no certificate is verified" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], [""]])
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A call without a reference, or with the empty one of `make`, ends with 2."""
    assert main(["pull", *words]) == 2
    assert capsys.readouterr().err == (
        "REF is missing: name an image, as in localhost:8080/<org>/<app>/<version>\n"
    )
