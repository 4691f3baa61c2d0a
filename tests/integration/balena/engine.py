"""The build engine of the balena CLI, and the node that runs it."""

import fcntl
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.client.client import Docker
from tests.integration.tool import COMMAND_SECONDS, find_tool, miss, run

FOLDER = Path(__file__).parent
NODE_LEAST = (20, 6)
"""As package.json has it: an older one has no `stream.duplexPair`."""


def find_node() -> str:
    """Return a node for which the engine is installed, beside this file.

    What package.json names is installed when it changes. Where it cannot be, the test
    is skipped, or fails if REQUIRE_TOOLS is set.
    """
    node, npm = find_tool("node"), find_tool("npm")
    version = run(node, "--version", environment=os.environ).strip()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < NODE_LEAST:
        miss(f"node {version} is too old for the balena CLI's build engine")
    wanted = "".join((FOLDER / name).read_text() for name in ("package.json", ".npmrc"))
    installed = FOLDER / "node_modules" / "installed"
    # Tests in several processes want it at once.
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (installed.exists() and installed.read_text() == wanted):
            _install(npm)
            installed.write_text(wanted)
    return node


@dataclass(frozen=True, slots=True)
class BuildEngine:
    """The engine, with a docker to build in."""

    node: str
    docker: Docker

    def build(self, project: Path, way: str, secrets: Path | None = None) -> str:
        """Build the project and return what is printed.

        Raises:
            ToolError: a service was not built; the message is what was printed.

        """
        return run(
            *(self.node, FOLDER / "build.js", "--as", way),
            *("--docker", self.docker.url.removeprefix("unix://")),
            *(() if secrets is None else ("--registry-secrets", secrets)),
            project,
            environment=self.docker.environment,
        )

    def inspect(self, image: str, field: str) -> str:
        """Return a field of an image, as JSON."""
        form = f"{{{{json .{field}}}}}"
        return self.docker.docker("image", "inspect", "--format", form, image)


def _install(npm: str) -> None:
    try:
        subprocess.run(
            [npm, "install"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        miss(f"npm install did not end within {COMMAND_SECONDS} seconds")
    except subprocess.CalledProcessError as error:
        miss(f"npm install failed: {error.stderr.strip().partition('\n')[0]}")
    # npm's own note of where each package came from.
    (FOLDER / "node_modules" / ".package-lock.json").unlink(missing_ok=True)
