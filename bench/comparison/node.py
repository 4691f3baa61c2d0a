"""Installs the proxy in Node.js that is measured beside, and decides how it starts."""

import os
from pathlib import Path

from bench.certificate import Files
from bench.program import Command, find_program, run

FOLDER = Path(__file__).parents[1] / "node"
INSTALL_SECONDS = 120


def install_node_proxy() -> None:
    """Install what package.json names, if it changed.

    Raises:
        ProgramError: node or npm is missing, or the package cannot be had.

    """
    find_program("node")
    wanted = "".join((FOLDER / name).read_text() for name in ("package.json", ".npmrc"))
    installed = FOLDER / "node_modules" / "installed"
    if installed.exists() and installed.read_text() == wanted:
        return
    command = [find_program("npm"), "install"]
    run(command, environment=os.environ, seconds=INSTALL_SECONDS, folder=FOLDER)
    # npm's own note of where each package came from.
    (FOLDER / "node_modules" / ".package-lock.json").unlink(missing_ok=True)
    installed.write_text(wanted)


def node_command(target: str, port: int, tls: Files | None) -> Command:
    """Return the command that starts it, once it is installed."""
    files = (tls.certificate, tls.key) if tls else ()
    return [find_program("node"), FOLDER / "proxy.js", target, str(port), *files]


def node_environment(files: Files) -> dict[str, str]:
    """Return what lets it trust the registry."""
    return {"NODE_EXTRA_CA_CERTS": str(files.authority)}
