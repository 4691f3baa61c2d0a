"""Builds with registry secrets, by the engine of the balena CLI.

The project, the files of secrets and the messages are those of docs/openbalena.md.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from demo.proxy import Proxy
from mitm.option import VARIABLES
from registry_proxy import ROOT
from tests.client.client import Docker
from tests.integration.balena.engine import BuildEngine, find_node
from tests.integration.registry import Installation
from tests.integration.tool import ToolError, find_tool, run

PAGE = (ROOT / "docs" / "openbalena.md").read_text()
SHOWN_HOST = "proxy.example.com:8443"
SHOWN_KEY = "<API key>"
PRIVATE_LOCATION = "875ff9869a2373a5d97612c498e0bcf1"
MULTI_PLATFORM = "otherorg/tracker/5.0.0"

_FILE = re.compile(
    r"^```\w+ (?P<path>[\w./-]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
SHOWN_FILES = {match["path"]: match["text"] for match in _FILE.finditer(PAGE)}
PROJECT = ("docker-compose.yml", "main/Dockerfile", "browser/Dockerfile.template")
NOT_BUILT = "nothing, it is built"
MESSAGES = {
    row[0]: row[1:]
    for row in re.findall(
        r"^\| ([^|`]+) \| (`[^|]+`|[^|`]+) \| (`[^|]+`) \|$",
        PAGE.partition("### When a build fails")[2].partition("## ")[0],
        re.MULTILINE,
    )
}


@pytest.fixture
def balena(docker: Docker) -> BuildEngine:
    """The build engine, with a docker that has no images."""
    return BuildEngine(find_node(), docker)


@pytest.fixture
def project(proxy: Proxy, tmp_path: Path) -> Path:
    """The project that the page shows."""
    folder = tmp_path / "project"
    for path in PROJECT:
        write(folder / path, SHOWN_FILES[path].replace(SHOWN_HOST, proxy.host))
    return folder


def write(path: Path, text: str) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("way", "name"),
    [("build", "secrets.json"), ("push", "secrets.yml"), ("device", "secrets.yml")],
)
def test_project_is_built(
    installation: Installation,
    proxy: Proxy,
    balena: BuildEngine,
    project: Path,
    tmp_path: Path,
    way: str,
    name: str,
) -> None:
    """Base images and services of a private block come with either file of secrets."""
    # In local mode a device has a login already, and it is enough.
    key = installation.cloud.keys["device" if way == "device" else "carol"]
    shown = SHOWN_FILES[name].replace(SHOWN_HOST, proxy.host)
    secrets = write(tmp_path / name, shown.replace(SHOWN_KEY, key))
    printed = balena.build(project, way, secrets)
    helper = f"{proxy.host}/balenablocks/private-block/1.0.0:latest"
    assert f"helper is {helper}" in printed
    (reference,) = json.loads(balena.inspect(helper, "RepoDigests"))
    assert reference.endswith(f"@{installation.digest(PRIVATE_LOCATION)}")
    layers = balena.inspect(helper, "RootFS.Layers")
    assert balena.inspect("project_main", "RootFS.Layers") == layers
    for service in ("main", "browser"):
        assert "GREETING=hello" in balena.inspect(f"project_{service}", "Config.Env")
    assert "/browser-aarch64/2.3.6" in printed
    assert key not in printed


def test_platform_of_the_device_is_taken(
    proxy: Proxy, balena: BuildEngine, tmp_path: Path
) -> None:
    """The engine sees through the proxy that an image has several platforms."""
    image = f"{proxy.host}/{MULTI_PLATFORM}"
    write(tmp_path / "app" / "Dockerfile", f"FROM {image}\nENV GREETING=hello\n")
    composition = "version: '2.4'\nservices:\n  main:\n    build: .\n"
    write(tmp_path / "app" / "docker-compose.yml", composition)
    balena.build(tmp_path / "app", "build")
    assert json.loads(balena.inspect("project_main", "Architecture")) == "arm64"


MISTAKES: Mapping[str, Mapping[str, str]] = {
    "the key is wrong or expired": {"key": "nosuchkey"},
    "there are no secrets, or none for this host and port": {"host": "localhost"},
    "the host has a scheme in front": {"host": "https://{host}"},
    "the user name is empty": {"user": ""},
    "there is no such release": {"version": "9.9.9"},
}
"""What somebody writes in place of what is right."""


@pytest.mark.parametrize("what", sorted({*MISTAKES, *MESSAGES}))
def test_build_says_what_is_wrong(
    installation: Installation,
    proxy: Proxy,
    balena: BuildEngine,
    project: Path,
    tmp_path: Path,
    what: str,
) -> None:
    """The page quotes what the build of each service ends with."""
    mistake = MISTAKES[what]
    for path in ("docker-compose.yml", "main/Dockerfile"):
        text = (project / path).read_text()
        write(project / path, text.replace("1.0.0", mistake.get("version", "1.0.0")))
    host = mistake.get("host", "{host}").format(host=proxy.host)
    key = mistake.get("key", installation.cloud.keys["carol"])
    login = {"username": mistake.get("user", "me"), "password": key}
    secrets = write(tmp_path / "secrets.json", json.dumps({host: login}))
    with pytest.raises(ToolError) as failed:
        balena.build(project, "build", secrets)
    printed = str(failed.value)
    for service, message in zip(("main", "helper"), MESSAGES[what], strict=True):
        if message == NOT_BUILT:
            assert f"\n{service} is " in printed
            continue
        pattern = ".*".join(map(re.escape, message.strip("`").split("…")))
        assert re.search(rf"^{service} failed: {pattern}", printed, re.MULTILINE)
    assert key not in printed


def test_file_of_secrets_is_checked_first(
    balena: BuildEngine, project: Path, tmp_path: Path
) -> None:
    """A file that has another shape ends the build before anything is pulled."""
    digits = "h:\n  username: me\n  password: 12345"
    with pytest.raises(ToolError) as failed:
        balena.build(project, "build", write(tmp_path / "secrets.yml", digits))
    assert "data['h'].password should be string" in str(failed.value)
    assert "[Build]" not in str(failed.value)


def test_pull_secret_of_kubernetes_is_a_login(
    installation: Installation, proxy: Proxy, docker: Docker, tmp_path: Path
) -> None:
    """What kubectl makes of the page's command lets a client pull the pod's image."""
    (shown,) = re.findall(r"```sh\n(kubectl .*?)```", PAGE, re.DOTALL)
    command = shown.strip().replace(SHOWN_HOST, proxy.host)
    command = command.replace(SHOWN_KEY, installation.cloud.keys["carol"])
    command = command.replace("kubectl", find_tool("kubectl"))
    template = 'go-template={{index .data ".dockerconfigjson" | base64decode}}'
    made = run(
        *("sh", "-c", f"{command} --dry-run=client -o '{template}'"),
        environment=docker.environment,
    )
    pod = YAML(typ="safe").load(SHOWN_FILES["pod.yml"])
    assert f"docker-registry {pod['spec']['imagePullSecrets'][0]['name']} " in command
    image = pod["spec"]["containers"][0]["image"].replace(SHOWN_HOST, proxy.host)
    skopeo = (find_tool("skopeo"), "inspect", "--tls-verify=false")
    login = ("--authfile", write(tmp_path / "config.json", made))
    shown = run(*skopeo, *login, f"docker://{image}", environment=docker.environment)
    assert json.loads(shown)["Digest"] == installation.digest(PRIVATE_LOCATION)


def test_commands_of_the_page_are_well_formed() -> None:
    """A shell understands them, and the variables that they give are read."""
    for command in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        run("bash", "-n", environment={"PATH": os.environ["PATH"]}, stdin=command)
        if command.startswith("make "):
            assert set(re.findall(r"\b([A-Z_]+)=", command)) <= {*VARIABLES}
