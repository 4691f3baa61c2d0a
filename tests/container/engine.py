"""A docker engine of the tests' own, and containers that end with their context."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import serve
from tests.integration.tool import (
    ToolError,
    find_tool,
    require_root,
    run,
    running,
    wait_until,
)

BUILD_SECONDS = 600
STOP_SECONDS = 20
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

    def import_base(
        self, name: str, *programs: str, changes: Sequence[str] = ()
    ) -> None:
        """Make an image of this machine's Python, and of programs beside it."""
        path = self.folder / f"{name}.tar"
        with path.open("wb") as output:
            subprocess.run(
                [serve.ROOT / "tools" / "base-image", *programs],
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
            cwd=serve.ROOT,
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
    require_root("dockerd")
    engine = Engine(folder)
    command: list[str | Path] = [
        *(find_tool("dockerd"), "--host", engine.environment["DOCKER_HOST"]),
        *("--data-root", folder / "data", "--exec-root", folder / "exec"),
        *("--pidfile", folder / "pid", "--bridge=none", "--iptables=false"),
    ]
    path = f"/usr/sbin:/sbin:{os.environ['PATH']}"

    def is_ready() -> bool:
        try:
            engine.docker("version")
        except ToolError:
            return False
        return True

    environment = {**engine.environment, "PATH": path}
    log = folder / "dockerd.log"
    try:
        with running(command, is_ready, log=log, environment=environment):
            yield engine
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the images, and what dockerd leaves mounted when it ends.

    It is the network of the machine, for containers on that, and pytest could not
    remove the folder.
    """
    for mounted in (folder / "exec" / "netns").glob("*"):
        if os.path.ismount(mounted):
            run(find_tool("umount"), mounted, environment=os.environ)
    shutil.rmtree(folder / "data", ignore_errors=True)


class Container:
    """A container on the machine's network, locked down, while the context lasts."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        *command: str,
        options: Sequence[str] = (),
        variables: Mapping[str, str],
    ) -> None:
        self._engine = engine
        self._run = [
            *("run", "--detach", "--network", "host"),
            *("--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--health-interval", "1s"),
            *(w for pair in variables.items() for w in ("--env", "=".join(pair))),
            *(*options, image, *command),
        ]

    def __enter__(self) -> Self:
        self.id = self._engine.docker(*self._run).strip()
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.docker("rm", "--force", "--volumes", self.id)

    @property
    def log(self) -> str:
        """What it printed so far."""
        return self._engine.docker("logs", self.id)

    @property
    def state(self) -> Any:
        """What docker knows of its state."""
        return self._engine.inspect(self.id)["State"]

    def wait_until_healthy(self) -> None:
        """Return once docker's health check says so; raise if it ends before."""
        wait_until(
            lambda: (
                not self.state["Running"] or self.state["Health"]["Status"] == "healthy"
            ),
            "a healthy container",
        )
        if not self.state["Running"]:
            raise ToolError(self.log)

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if that does not help."""
        self._engine.docker("stop", "--time", str(STOP_SECONDS), self.id)
