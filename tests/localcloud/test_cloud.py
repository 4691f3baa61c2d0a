"""A cloud can be changed while it runs, watched, and started from the shell."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from localcloud import LocalCloud
from localcloud.cloud import tls_context
from localcloud.issuer import Access
from localcloud.server import Response
from tests.authority import Authority
from tests.localcloud.client import ask

SLUG = "balenablocks/empty-app"
QUERY = "/v7/release?$select=id&$top=0"


def connect(cloud: LocalCloud) -> socket.socket:
    """Return a connection to the API."""
    host, _, port = urlsplit(cloud.api_url).netloc.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


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
            "1.0.0",
            "1.0.0+rev1",
            "1.0.0+prod",
            "1.0.0+b.1.rev2",
            "1.1.0-1700000000500",
            "1.1.0-rc.1.1700000000500",
        ]
        target = ask(cloud.api_url, f"/auth/v1/token?scope=repository:{SLUG}:pull")
        token = target.json["token"]
        repository = added[0].images[0].repository
        assert cloud.issuer.verify(token) == [Access(repository, ("pull",))]
        path = f"/v2/{repository}/manifests/latest"
        headers = {"Authorization": f"Bearer {token}"}
        assert ask(cloud.registry_url, path, headers).status == 200


def test_application_can_be_added() -> None:
    """A new application and its release show at once."""
    with LocalCloud(publish=False) as cloud:
        cloud.add_application("neworg/new")
        cloud.add_release("neworg/new", "0.1.0")
        query = "$select=slug&$filter=slug%20eq%20'neworg/new'"
        query += "&$expand=owns__release($select=raw_version)"
        rows = ask(cloud.api_url, f"/v7/application?{query}").json["d"]
        assert rows == [
            {"owns__release": [{"raw_version": "0.1.0"}], "slug": "neworg/new"}
        ]
        with pytest.raises(ValueError, match="not a semver: '1'"):
            cloud.add_release("neworg/new", "1")


def test_requests_are_kept_and_can_be_forgotten() -> None:
    """A test can count and inspect what the API received."""
    with LocalCloud(publish=False) as cloud:
        ask(cloud.api_url, "/v7/release?$top=%30", {"X-Some": "Thing"})
        for request in cloud.requests:
            ask(cloud.api_url, "/")  # Going through them bears more that come.
            assert (request.method, request.target) == ("GET", "/v7/release?$top=%30")
            assert request.header("x-some") == "Thing"
        assert len(cloud.requests) == 2
        cloud.requests.clear()
        assert len(cloud.requests) == 0


def test_failures_can_be_interposed() -> None:
    """A test makes the API fail, and well again."""
    with LocalCloud(publish=False) as cloud:
        cloud.api.interpose = lambda _: Response(429, (("Retry-After", "7"),))
        answer = ask(cloud.api_url, QUERY)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        cloud.api.interpose = None
        assert ask(cloud.api_url, QUERY).status == 200


def test_connection_is_kept(cloud: LocalCloud) -> None:
    """Several requests go over one connection."""
    connection = http.client.HTTPConnection(urlsplit(cloud.api_url).netloc, timeout=10)
    with closing(connection):
        connection.connect()
        socket_before = connection.sock
        for method in ("POST", "GET", "HEAD", "GET"):
            connection.request(method, "/auth/v1/token")
            with connection.getresponse() as response:
                response.read()
            assert response.status == (404 if method == "POST" else 200)
            assert connection.sock is socket_before


def test_open_connection_does_not_hold_up_the_end() -> None:
    """A cloud ends although a client keeps its connection."""
    with ExitStack() as stack:
        cloud = stack.enter_context(LocalCloud(publish=False))
        with closing(connect(cloud)) as idle:
            idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 404"
            end = threading.Thread(target=stack.pop_all().close, daemon=True)
            end.start()
            end.join(timeout=10)
            assert not end.is_alive()


def test_tls(tmp_path: Path) -> None:
    """With a certificate the servers speak TLS, and shrug at plain HTTP."""
    authority = Authority("private")
    file = authority.server_file(tmp_path)
    authority_file = authority.write_file(tmp_path / "authority.pem")
    with LocalCloud(
        tls=tls_context(file, file), public_host="localhost", publish=False
    ) as cloud:
        assert cloud.registry_url.startswith("https://localhost:")
        with closing(connect(cloud)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection = http.client.HTTPSConnection(
            urlsplit(cloud.api_url).netloc,
            context=ssl.create_default_context(cafile=authority_file),
            timeout=10,
        )
        with closing(connection):
            connection.request("GET", QUERY)
            with connection.getresponse() as response:
                assert response.read() == b'{"d":[]}'


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
