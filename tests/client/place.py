"""Where container clients run: this machine, or a folder with a Debian of its own.

`tools/clients` makes such a folder. What runs in it sees its files alone, beside those
of one folder of the test's, and has the network of whoever started it.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from registry_proxy import ROOT
from tests.integration.tool import (
    STOP_SECONDS,
    SYSTEM_FOLDERS,
    ToolError,
    find_tool,
    miss,
    require_root,
    run,
    running,
)

_TOOL = ROOT / "tools" / "clients"
_FOLDERS = (*SYSTEM_FOLDERS.split(":"), "/usr/libexec/docker/cli-plugins")
_NOT_MADE = 3
_MAKING_FAILED = 4
"""What it exits with where there is no such folder; the archive may be the reason."""
_STABLE = "trixie"
"""The suite whose archive does not change by the day."""


class Place:
    """The machine itself, with the programs of its own Debian."""

    _enter: tuple[str, ...] = ()
    """What begins a command that runs there."""

    def find(self, name: str) -> str:
        """Return the program's path; skip the test, or fail it, where it is missing."""
        return find_tool(name)

    def run(
        self,
        *command: str | Path,
        environment: Mapping[str, str],
        stdin: str | None = None,
    ) -> str:
        """Return what a program prints; raise ToolError where it fails."""
        return run(*self._enter, *command, environment=environment, stdin=stdin)

    @contextmanager
    def running(
        self,
        command: Sequence[str | Path],
        is_ready: Callable[[], bool],
        *,
        log: Path,
        environment: Mapping[str, str],
    ) -> Iterator[None]:
        """Run a server until the context ends."""
        entering = [*self._enter, *command]
        with running(entering, is_ready, log=log, environment=environment) as process:
            try:
                yield
            finally:
                if self._enter and process.poll() is None:
                    # nsenter waits for the server, and hands no signal on.
                    os.kill(_child(process.pid), signal.SIGTERM)
                    process.wait(STOP_SECONDS)


HERE = Place()


class Suite(Place):
    """A folder of `tools/clients` in which programs run, until `entered` ends."""

    def __init__(self, name: str, folder: Path, process: int) -> None:
        self.name = name
        self.folder = folder
        """What it shares with this machine, under the same path."""
        self.root = Path(f"/proc/{process}/root")
        self._enter = (
            *(find_tool("nsenter"), "--target", str(process)),
            *("--mount", "--pid", "--net", "--root", "--wd", "--"),
        )
        lacking = self.root / "lacking"
        self._lacking = lacking.read_text().split() if lacking.exists() else []

    def find(self, name: str) -> str:
        """Return the program's path there; a package of that name may be lacking."""
        paths = (f"{folder}/{name}" for folder in _FOLDERS)
        # A link points to where it does for who is inside.
        path = next((p for p in paths if os.path.lexists(f"{self.root}{p}")), None)
        if path is None:
            miss(f"{self.name} has no {name}", is_demanded=name not in self._lacking)
        return path


@contextmanager
def entered(name: str, folder: Path) -> Iterator[Suite]:
    """Run the suite with this name, with what it writes in that folder."""
    require_root("a Debian of its own")
    process = subprocess.Popen(
        [_TOOL, name, "sh", "-c", "echo ready; exec cat"],
        env={**os.environ, "STATE": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        # All of it ends when cat does, and cat ends with its input.
        assert process.stdout is not None
        if process.stdout.readline() == "ready\n":
            yield Suite(name, folder, _child(process.pid))
            return
        _, words = process.communicate()
    if process.returncode in {_NOT_MADE, _MAKING_FAILED}:
        is_demanded = name == _STABLE or process.returncode == _NOT_MADE
        miss(words.strip(), is_demanded=is_demanded)
    raise ToolError(words)


def _child(process: int) -> int:
    """Return the one process that another has started."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text())
