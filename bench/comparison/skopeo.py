"""A whole pull by a real client that has nothing yet."""

import os
import shutil
import time
from pathlib import Path

from bench.comparison.contestant import Contestant
from bench.program import find_program, run
from bench.visit import Wanted

PULL_SECONDS = 300


def pull(contestant: Contestant, name: str, folder: Path) -> float:
    """Copy an image to a folder, remove it there, and return how long the copy took.

    Raises:
        ProgramError: skopeo failed.

    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "TMPDIR": str(folder),
    }
    copy = folder / "copy"
    source = f"docker://{contestant.host}/{name}:latest"
    command = [find_program("skopeo"), "copy", "--quiet", "--src-tls-verify=false"]
    try:
        began = time.monotonic()
        run(
            [*command, source, f"dir:{copy}"],
            environment=environment,
            seconds=PULL_SECONDS,
        )
        return time.monotonic() - began
    finally:
        # What it may have kept would make the next pull another one.
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def name_of(contestant: Contestant, wanted: Wanted) -> str:
    """Return the name of the image's repository, as the contestant knows it."""
    return wanted.versioned_alias if contestant.takes_aliases else wanted.location
