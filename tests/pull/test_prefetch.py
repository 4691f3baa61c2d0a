"""The command that lets a proxy keep images: what it pulls, and how it ends."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from localcloud.server import Request, Response
from pull.command import usual_host
from pull.manifest import IMAGES, INDEXES
from pull.reference import parse_reference
from registry_proxy import ROOT
from registry_proxy.command import main
from tests.pull.site import CONFIG, LAYER, NAME, Site, digest_of, error, manifest_of

OTHER_LAYER = LAYER[::-1]
KEEPING = "Pulling through the proxy, so that it keeps the images."
PLATFORMS = ("linux/arm64", "plan9/mips", "unknown/unknown")


@pytest.fixture
def proxy(site: Site) -> Site:
    """A registry that sends blobs itself, as a proxy that keeps them does."""
    site.blobs[digest_of(OTHER_LAYER)] = OTHER_LAYER
    images = [manifest_of(LAYER), manifest_of(OTHER_LAYER), manifest_of(b"attached")]
    entries = []
    for image, platform in zip(images, PLATFORMS, strict=True):
        system, machine = platform.split("/")
        entries.append(
            {
                "digest": digest_of(image),
                "size": len(image),
                "platform": {"os": system, "architecture": machine},
            }
        )
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    manifests = {digest_of(image): image for image in images}

    def answer(request: Request) -> Response | None:
        version = request.path.rpartition("/")[2]
        if not request.header("Authorization"):
            return None
        if version == "latest":
            return Response(200, (("Content-Type", INDEXES[0]),), index)
        if version == "broken":
            return error(404, "MANIFEST_UNKNOWN", "there is no such tag")
        if version in manifests:
            return Response(200, (("Content-Type", IMAGES[0]),), manifests[version])
        return Response(200, (), site.blobs[version])

    site.registry.interpose = answer
    return site


def pulled(site: Site) -> list[str]:
    """Return the digests of the blobs that were asked for, in their order."""
    paths = [request.path for request in site.registry.requests]
    return [path.rpartition("/")[2] for path in paths if "/blobs/" in path]


def prefetch(site: Site, *words: str) -> int:
    """Return how the command ends, with the port of the proxy of this machine."""
    port = site.registry.host.rpartition(":")[2]
    return main(["prefetch", "--proxy-port", port, *words])


def test_all_platforms_unless_one_is_named(
    proxy: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Devices of any kind will ask; what is attached to images is not for them."""
    port = proxy.registry.host.rpartition(":")[2]
    assert prefetch(proxy, NAME) == 0
    assert set(pulled(proxy)) == set(map(digest_of, (CONFIG, LAYER, OTHER_LAYER)))
    assert len(pulled(proxy)) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"{KEEPING} References without a host mean the proxy at localhost:{port}.",
        f"{NAME}: 512.0 kB, all digests as they should be",
    ]
    proxy.registry.requests.clear()
    assert prefetch(proxy, NAME, "--platform", "plan9/mips", "--quiet") == 0
    assert pulled(proxy) == list(map(digest_of, (CONFIG, OTHER_LAYER)))
    assert capsys.readouterr().out == ""


def test_proxy_of_this_machine_is_told_where_it_is_meant(
    proxy: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where each reference has a host, no other is asked."""
    assert prefetch(proxy, f"{proxy.registry.host}/{NAME}") == 0
    assert capsys.readouterr().out.splitlines()[0] == KEEPING


def test_goes_on_after_one_that_fails(
    proxy: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure is told with its reference and its cause."""
    host = proxy.registry.host
    words = (f"{NAME}:broken", "no name", f"{host}/{NAME}", f"{host}/{NAME}")
    assert prefetch(proxy, *words) == 1
    printed = capsys.readouterr()
    assert printed.out.count("all digests as they should be") == 1
    lines = printed.err.splitlines()
    starts = sorted(line for line in lines if not line.startswith("next: "))
    total, first, second = starts
    assert total == "2 of 3 images were not fetched"
    assert first.startswith("no name: error (name): 'no name' is not a repository")
    assert second.startswith(f"{NAME}:broken: error (manifest): the registry localhost")
    assert second.endswith(" answers 404 MANIFEST_UNKNOWN: there is no such tag")


def test_wrong_bytes_are_a_failure(
    proxy: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes is checked as any client does it."""
    proxy.blobs[digest_of(LAYER)] = OTHER_LAYER
    assert prefetch(proxy, NAME) == 1
    assert "has other bytes: their digest is not that" in capsys.readouterr().err


def test_proxy_that_keeps_nothing_is_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it redirects passes by it, so nothing of that is downloaded."""
    assert prefetch(site, NAME) == 1
    said = capsys.readouterr().err
    assert "sends its clients to the storage 127.0.0.1:" in said
    assert "and so keeps none\nnext: name a proxy that runs with CACHE=<folder>" in said
    assert len(site.storage.requests) <= 1
    assert "hidden" not in said


def test_interruption_ends_it_at_once() -> None:
    """With a line and a status, whoever is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        words = ("prefetch", NAME, f"{NAME}:2", "--quiet", "--proxy-port", port)
        with subprocess.Popen(
            [sys.executable, "-m", "registry_proxy", *words],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            silent.settimeout(30)
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (130, "registry proxy: interrupted\n")


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("", "localhost:8080"),
        ("0.0.0.0", "localhost:8080"),
        ("::", "localhost:8080"),
        ("192.0.2.7", "192.0.2.7:8080"),
        ("2001:db8::1", "[2001:db8::1]:8080"),
    ],
)
def test_proxy_of_this_machine(listen: str, host: str) -> None:
    """It is where it listens, and speaks plain HTTP there."""
    usual = usual_host({"LISTEN_HOST": listen})
    assert usual == host
    assert parse_reference(NAME, usual_host=usual).url == f"http://{host}"
    assert parse_reference(f"https://{NAME}", usual_host=usual).url.startswith("https:")
