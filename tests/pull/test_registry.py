"""Pulls from a real registry and from the proxy, read again by skopeo."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from cause.finding import Cause
from demo.proxy import Proxy
from localcloud import LocalCloud
from pull.client import Client
from pull.fault import Fault
from pull.layout import Layout
from pull.login import Login, with_key
from pull.reference import parse_reference
from registry_proxy import ROOT
from registry_proxy.port import free_port
from tests.integration.registry import Installation, installed, seed, serving
from tests.integration.tool import find_tool, run

HASH = "567e62d1e73529e7a31757ac1f3fb902"
ALIAS = "balenablocks/browser-aarch64/2.3.8"
PRIVATE = "balenablocks/private-block/1.0.0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """docker-registry, with tokens of a localcloud."""
    with installed(tmp_path_factory.mktemp("registry")) as installation:
        yield installation


@pytest.fixture(scope="module")
def proxy(whole: Installation) -> Iterator[Proxy]:
    """The proxy in front of it."""
    environment = {"API_URL": whole.cloud.api_url}
    with Proxy(whole.url, environment=environment) as one:
        yield one


def inspect(folder: Path) -> dict[str, Any]:
    """Return what skopeo finds in a layout, after it copied all of it."""
    skopeo, environment = find_tool("skopeo"), {"PATH": os.environ["PATH"]}
    copy = ("copy", "-q", f"oci:{folder}", f"dir:{folder}-copy")
    run(skopeo, *copy, environment=environment)
    text = run(skopeo, "inspect", f"oci:{folder}", environment=environment)
    found: dict[str, Any] = json.loads(text)
    return found


def test_release_by_its_name(whole: Installation, proxy: Proxy, tmp_path: Path) -> None:
    """What the proxy serves is written so that skopeo can read it."""
    folder = tmp_path / "image"
    reference = parse_reference(f"{proxy.host}/{ALIAS}")
    said: list[str] = []
    assert Client(said.append).pull(reference, Layout(folder)) > 6_000_000
    assert inspect(folder)["Digest"] == whole.digest(HASH)
    assert any(f"     alias    {ALIAS}" in line for line in said)


def test_image_of_two_platforms(proxy: Proxy, tmp_path: Path) -> None:
    """An index leads to an image, in docker's types as well."""
    for platform in ("linux/amd64", "linux/arm64"):
        folder = tmp_path / platform.replace("/", "-")
        reference = parse_reference(f"{proxy.host}/otherorg/tracker/5.0.0")
        client = Client(lambda _: None, platform=platform)
        client.pull(reference, Layout(folder))
        assert inspect(folder)["Digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "cause", "words"),
    [
        (f"{ALIAS[:-5]}9.9.9", Cause.RELEASE, r"no release 9\.9\.9 .* newest are 2\.9"),
        (f"{ALIAS[:-6]}:9.9.9", Cause.RELEASE, r"no release 9\.9\.9 .* newest are"),
        (PRIVATE, Cause.LOGIN, r"403 DENIED: .* is private or .*; no login was sent"),
        ("alpine", Cause.NAME, "400 NAME_INVALID: 'alpine' does not name a release"),
    ],
)
def test_refusal_of_the_proxy(
    proxy: Proxy, name: str, cause: Cause, words: str
) -> None:
    """Its message is shown as it is."""
    with pytest.raises(Fault, match=words) as caught:
        Client(lambda _: None).pull(parse_reference(f"{proxy.host}/{name}"))
    assert caught.value.cause is cause


def test_login(whole: Installation, proxy: Proxy) -> None:
    """A key opens what is private; a wrong one is said to be wrong."""
    reference = parse_reference(f"{proxy.host}/{PRIVATE}")
    key = whole.cloud.keys["carol"]
    assert Client(lambda _: None, find_login=with_key(key)).pull(reference)
    with pytest.raises(Fault, match="the login me from the caller is wrong") as caught:
        Client(lambda _: None, find_login=with_key("k" * 32)).pull(reference)
    assert caught.value.cause is Cause.LOGIN


def test_alias_at_the_registry_itself(whole: Installation) -> None:
    """It knows locations alone, though its tokens know the alias."""
    reference = parse_reference(f"{whole.url}/{ALIAS}")
    with pytest.raises(Fault, match=f"knows the image as v2/{HASH} alone") as caught:
        Client(lambda _: None).pull(reference)
    assert caught.value.cause is Cause.NAME


@pytest.mark.parametrize("has_login", [False, True])
def test_registry_without_tokens(has_login: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """One that asks for nothing, and one that asks for user name and password."""
    with LocalCloud() as cloud:
        seed(cloud.images, tmp_path)
    config: Mapping[str, Any] = {}
    if has_login:
        (tmp_path / "htpasswd").write_bytes(
            b"carol:" + bcrypt.hashpw(b"password", bcrypt.gensalt(4)) + b"\n"
        )
        htpasswd = {"realm": "here", "path": str(tmp_path / "htpasswd")}
        config = {"auth": {"htpasswd": htpasswd}}
    port = free_port()
    reference = f"localhost:{port}/v2/{HASH}"
    entry = {"auth": base64.b64encode(b"carol:password").decode()}
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {f"localhost:{port}": entry}})
    )
    with serving(tmp_path, port, config):
        done = subprocess.run(
            [sys.executable, "-m", "registry_proxy", "pull", reference],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert ("log in as carol" in done.stdout) == has_login
        assert "Pulled 6.3 MB, all digests" in done.stdout
        wrong = Login("carol", "sesame", "a test")
        client = Client(lambda _: None, find_login=lambda _host, _realm: wrong)
        if has_login:
            with pytest.raises(Fault, match="the login carol from a test is wrong"):
                client.pull(parse_reference(reference))
