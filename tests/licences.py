"""The licences of the packages that the image ships: ``python -m tests.licences``.

It prints the table of docs/security.md, from what the packages say of themselves.
"""

import re
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from registry_proxy import ROOT

IMAGE = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
OWN_WORDS = {
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "LGPL v3": "LGPL-3.0-or-later",
    "MIT License": "MIT",
    "MIT and MPL-2.0": "MIT AND MPL-2.0",
}
"""What packages say in place of SPDX's identifiers."""
SILENT = {"mitmproxy-linux": "MIT", "mitmproxy-rs": "MIT"}
"""Those that say nothing; theirs is that of their repository."""


def packages() -> Iterator[str]:
    """Yield the packages that the image has installed."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    for line in lines:
        if re.match(r"\w", line):
            requirement = Requirement(line.rstrip(" \\"))
            if requirement.marker is None or requirement.marker.evaluate(IMAGE):
                yield requirement.name


def licence_of(package: str) -> str:
    """Return the licence that an installed package names, as SPDX writes it."""
    told = metadata.metadata(package)
    if expression := told.get("License-Expression"):
        return expression
    text = told.get("License") or ""
    if not text or "\n" in text:
        # The whole text, or none: the classifiers have its name.
        classifiers = told.get_all("Classifier") or []
        names = [name for name in classifiers if name.startswith("License :: ")]
        text = names[0].rpartition(" :: ")[2] if names else SILENT[package]
    return OWN_WORDS.get(text, text)


def format_table() -> str:
    """Return the table in Markdown."""
    rows = [f"| {name} | {licence_of(name)} |" for name in packages()]
    return "\n".join(["| package | licence |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(format_table())
