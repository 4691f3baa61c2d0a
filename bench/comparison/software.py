"""Which versions of what is measured, and measured with, are on this machine."""

import json
import os
import re
from collections.abc import Mapping

from bench.comparison.node import FOLDER
from bench.program import ProgramError, find_program, run

SECONDS = 20
_OPTIONS = {
    "docker-registry": "--version",
    "nginx": "-v",
    "skopeo": "--version",
    "haproxy": "-v",
    "node": "--version",
}
_NUMBER = re.compile(r"\d+\.\d+[\w.+~-]*")


def versions() -> Mapping[str, str]:
    """Return the version of each program that is there."""
    found = {}
    for name, option in _OPTIONS.items():
        try:
            command = [find_program(name), option]
            said = run(command, environment=os.environ, seconds=SECONDS)
        except ProgramError:
            continue
        if number := _NUMBER.search(said):
            found[name] = number[0]
    package = FOLDER / "node_modules" / "http-proxy-middleware" / "package.json"
    if package.exists():
        found["http-proxy-middleware"] = json.loads(package.read_text())["version"]
    return found
