"""The command: what it prints where, and how it ends."""

import socket
from pathlib import Path

import pytest

from registry_proxy.command import main
from tests.pull.site import NAME, Site


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


def test_insecure_is_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody forgets that certificates are not verified."""
    assert main(["pull", f"{site.registry.host}/{NAME}", "--insecure"]) == 0
    assert "no certificate is verified" in capsys.readouterr().out


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A call without a reference ends with 2."""
    with pytest.raises(SystemExit) as ended:
        main(["pull"])
    assert ended.value.code == 2
    assert "REF" in capsys.readouterr().err
