"""A cloud can be changed while it runs, watched, and started from the shell."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest

from localcloud import LocalCloud
from localcloud.issuer import Access
from tests.localcloud.client import ask

SLUG = "balenablocks/empty-app"


def test_added_releases_follow_the_api() -> None:
    """Revisions count up, drafts carry their time, and images can be pulled."""
    with LocalCloud(clock=lambda: 1_700_000_000.5) as cloud:
        added = [
            cloud.add_release(SLUG, "1.0.0", is_target=True),
            cloud.add_release(SLUG, "1.0.0", status="failed"),
            cloud.add_release(SLUG, "1.0.0", variant="prod"),
            cloud.add_release(SLUG, "1.0.0+b.1", services=("web", "db")),
            cloud.add_release(SLUG, "1.1.0", is_draft=True),
            cloud.add_release(SLUG, "1.1.0-rc.1", is_draft=True),
        ]
        assert [release.raw_version for release in added] == [
            *("1.0.0", "1.0.0+rev1", "1.0.0+prod", "1.0.0+b.1.rev2"),
            *("1.1.0-1700000000500", "1.1.0-rc.1.1700000000500"),
        ]
        with pytest.raises(ValueError, match="not a semver: '1'"):
            cloud.add_release(SLUG, "1")
        repository = added[0].images[0].repository
        target = f"/auth/v1/token?scope=repository:{SLUG}:pull"
        token = ask(cloud.api_url, target).json["token"]
        assert cloud.issuer.verify(token) == [Access(repository, ("pull",))]
        path = f"/v2/{repository}/manifests/latest"
        headers = {"Authorization": f"Bearer {token}"}
        assert ask(cloud.registry_url, path, headers).status == 200


def test_open_connection_does_not_hold_up_the_end() -> None:
    """A cloud ends although a client keeps its connection."""
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud(publish=False))
        port = urlsplit(cloud.api_url).port
        with closing(socket.create_connection(("127.0.0.1", port or 0))) as idle:
            idle.settimeout(10)
            idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 404"
            end = threading.Thread(target=stack.pop_all().close, daemon=True)
            end.start()
            end.join(timeout=10)
            assert not end.is_alive()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_and_ends(end: signal.Signals) -> None:
    """``python -m localcloud`` says where it is and ends when told to."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "localcloud"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(2)]
        match = re.fullmatch(r"API +(\S+)\n", lines[0])
        assert match is not None, lines
        key = "carolkey".ljust(33, "0")
        assert ask(match[1], f"/auth/v1/token?apikey={key}").status == 200
        assert ask(match[1], f"/?apikey={key}", method="PUT").status == 501
        process.send_signal(end)
        output, errors = process.stdout.read(), process.stderr.read()
        assert process.wait(timeout=20) == 0
        assert "balenablocks/browser-aarch64: " in output
        assert "2.3.8+rev2*" in output
        assert "balenablocks/private-block (private): " in output
        assert " 3.0.0" not in output  # It failed.
        assert f"{key}  carol" in output
        # No log line shows a request, for keys are in them.
        assert errors == ""
