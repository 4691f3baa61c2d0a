"""A docker engine of the tests' own, and containers that end with their context."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry_proxy import ROOT
from tests.client.client import docker_engine
from tests.integration.tool import ToolError, find_tool, run

BUILD_SECONDS = 600
SHOWN = 3000
"""How many characters of a failed build are worth reading."""


class Engine:
    """What talks to one dockerd: docker, and the scripts in tools/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.docker_path = find_tool("docker")
        # The tester's own environment says where pip finds packages, and whom to trust.
        self.environment: Mapping[str, str] = {
            **os.environ,
            "DOCKER_HOST": f"unix://{folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(folder / "config"),
            "DOCKER_BUILDKIT": "1",
            "CONTAINER": self.docker_path,
        }

    def docker(self, *arguments: str | Path) -> str:
        """Return what docker prints."""
        return run(self.docker_path, *arguments, environment=self.environment)

    def inspect(self, name: str) -> Any:
        """Return what docker knows of an image or container."""
        return json.loads(self.docker("inspect", name))[0]

    def health(self, name: str) -> str:
        """Return what docker's health check says of a container."""
        return str(self.inspect(name)["State"]["Health"]["Status"])

    def import_base(
        self, name: str, *programs: str, changes: Sequence[str] = ()
    ) -> None:
        """Make an image of this machine's Python, and of programs beside it."""
        path = self.folder / f"{name}.tar"
        with path.open("wb") as output:
            subprocess.run(
                [ROOT / "tools" / "base-image", *programs],
                env=self.environment,
                stdout=output,
                timeout=BUILD_SECONDS,
                check=True,
            )
        options = (word for change in changes for word in ("--change", change))
        self.docker("import", *options, path, name)
        path.unlink()

    def build(self, command: Sequence[str | Path], **variables: str) -> str:
        """Return what a builder prints, which has the network of this machine."""
        done = subprocess.run(
            [*command, "--network=host"],
            cwd=ROOT,
            env={**self.environment, **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise ToolError(done.stdout[-SHOWN:])
        return done.stdout


@contextmanager
def engine_running(folder: Path) -> Iterator[Engine]:
    """Run dockerd, which leaves the machine's own network as it is."""
    try:
        with docker_engine(folder, driver=""):
            yield Engine(folder)
    finally:
        # The network of the machine stays mounted, and pytest could not remove it.
        for mounted in (folder / "exec" / "netns").glob("*"):
            if os.path.ismount(mounted):
                run(find_tool("umount"), mounted, environment=os.environ)
        shutil.rmtree(folder / "data", ignore_errors=True)


@contextmanager
def container(
    engine: Engine,
    image: str,
    *command: str,
    options: Sequence[str] = (),
    variables: Mapping[str, str],
) -> Iterator[str]:
    """Run a container on the machine's network, locked down; yield its name."""
    name = engine.docker(
        *("run", "--detach", "--network", "host", "--read-only", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--health-interval", "1s"),
        *(word for pair in variables.items() for word in ("--env", "=".join(pair))),
        *(*options, image, *command),
    ).strip()
    try:
        yield name
    finally:
        engine.docker("rm", "--force", "--volumes", name)
