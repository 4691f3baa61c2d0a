"""Decides how the machine is described that figures come from."""

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
_MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on beside the proxy's own code."""

    processor: str
    cores: int
    system: str
    python: str
    mitmproxy: str

    def __str__(self) -> str:
        """Return it on one line."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return (
            f"{self.processor}, {cores}, {self.system};"
            f" Python {self.python}, mitmproxy {self.mitmproxy}"
        )


def this_machine(cpu_info: Path = CPU_INFO) -> Machine:
    """Return what this process runs on."""
    try:
        model = _MODEL.search(cpu_info.read_text())
    except OSError:
        model = None
    return Machine(
        processor=model[1] if model else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        mitmproxy=version("mitmproxy"),
    )
