"""A machine of its own for what a test runs: a private network and a private `/etc`.

Docker takes whatever resolves to loopback for an insecure registry, and trusts what
lies in `/etc/docker`. Here a name resolves to an address that is not loopback's, and
files in `/etc` may be written; nothing outside sees either, and all is gone with it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self

from tests.integration.tool import find_tool, require_root, run

NAME = "registry.test"
ADDRESS = "198.51.100.1"
"""One of those for documentation, which nobody has."""
_FOLDERS = (
    "/etc",
    "/usr/local/share/ca-certificates",
    "/var/lib/nginx",
    "/var/log/nginx",
)


class Machine:
    """A thread that left the network and the mounts of its process.

    What it starts, programs and threads, is on that machine too.
    """

    def __init__(self, folder: Path) -> None:
        require_root("a machine of its own")
        self._folder = folder
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        try:
            self.call(self._separate)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown()

    def call[T](self, function: Callable[..., T], *arguments: object) -> T:
        """Return, or raise, what the function does there."""
        return self._thread.submit(function, *arguments).result()

    @contextmanager
    def hosting[T](self, context: AbstractContextManager[T]) -> Iterator[T]:
        """Run there what a context runs."""
        entered = self.call(context.__enter__)
        try:
            yield entered
        finally:
            self.call(context.__exit__, None, None, None)

    def _separate(self) -> None:
        assert sys.platform == "linux"
        os.unshare(os.CLONE_NEWNS | os.CLONE_NEWNET)
        ip, mount = find_tool("ip"), find_tool("mount")
        self._do(mount, "--make-rprivate", "/")
        layers = self._folder / "layers"
        layers.mkdir()
        self._do(mount, "-t", "tmpfs", "layers", layers)
        for number, folder in enumerate(filter(os.path.isdir, _FOLDERS)):
            upper, work = layers / f"upper{number}", layers / f"work{number}"
            upper.mkdir()
            work.mkdir()
            parts = f"lowerdir={folder},upperdir={upper},workdir={work}"
            self._do(mount, "-t", "overlay", "-o", parts, "overlay", folder)
        self._do(ip, "link", "set", "lo", "up")
        self._do(ip, "address", "add", f"{ADDRESS}/32", "dev", "lo")
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write(f"\n{ADDRESS} {NAME}\n")

    def _do(self, *command: str | Path) -> None:
        run(*command, environment=os.environ)
