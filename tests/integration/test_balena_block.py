"""deploy/balena: the composition as the balena CLI reads it, and fit for the proxy."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mitm.option import VARIABLES
from mitm.version import VERSION
from registry_proxy import ROOT, serve
from tests.integration.balena.engine import FOLDER, find_node
from tests.integration.tool import run

BLOCK = ROOT / "deploy" / "balena"
ABOUT = YAML(typ="safe", pure=True).load((BLOCK / "balena.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# https://docs.balena.io/reference/supervisor/docker-compose/
SUPPORTED = {
    *("build", "cap_add", "cap_drop", "command", "depends_on", "entrypoint"),
    *("environment", "healthcheck", "image", "labels", "network_mode", "ports"),
    *("read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "volumes"),
}


@pytest.fixture(scope="module")
def composition() -> Any:
    """The composition as the CLI hands it to the builder."""
    node = find_node()
    file = BLOCK / "docker-compose.yml"
    return json.loads(run(node, FOLDER / "parse.js", file, environment=os.environ))


def test_composition_is_read(composition: Any) -> None:
    """It has one service, as a block has to, of what devices support."""
    (service,) = composition["services"].values()
    assert set(service) <= SUPPORTED
    assert composition["images"] == [service["image"]]
    assert service["image"].endswith(f"/registry-proxy:{VERSION}")
    assert not any(volume.startswith(("/", ".")) for volume in service["volumes"])


def test_service_fits_the_image(composition: Any, tmp_path: Path) -> None:
    """Ports, the volumes and the variables are those of the image."""
    (service,) = composition["services"].values()
    environment = service["environment"]
    (folders,) = re.findall(r"install -d -m 0700 -o 10001 -g 10001 (.*) \\", DOCKERFILE)
    mounted = dict(volume.split(":") for volume in service["volumes"])
    assert set(mounted) == set(composition["volumes"])
    assert set(mounted.values()) == set(folders.split())
    assert environment["CACHE"] in mounted.values()
    exposed = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert service["ports"] == [f"80:{exposed}", f"443:{exposed}"]
    assert set(environment) <= {*VARIABLES}
    assert serve.mitmdump_arguments(environment | {"CACHE": str(tmp_path)})


def test_block_is_described() -> None:
    """It has what a block needs, and the version that is released."""
    assert ABOUT["type"] == "sw.block"
    assert ABOUT["version"] == VERSION
    assert re.fullmatch("[a-z-]+", ABOUT["name"])
    types = ABOUT["data"]["supportedDeviceTypes"]
    assert types == sorted(types)
    assert ABOUT["data"]["defaultDeviceType"] in types
