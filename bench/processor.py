"""Decides how much of a processor, and of the memory, a process has taken so far.

The time of the processor tells what a request costs, however busy the machine is with
other things meanwhile; the time on the clock does not. It is read from `/proc`, which
only Linux has: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import os
from pathlib import Path

PROC = Path("/proc")
_USER, _SYSTEM = 11, 12
"""Where the times stand behind the name, which may have blanks and brackets in it."""


class Process:
    """A process that runs on this machine."""

    def __init__(self, number: int, *, proc: Path = PROC) -> None:
        self._folder = proc / str(number)
        self._ticks = os.sysconf("SC_CLK_TCK")

    def processor_seconds(self) -> float:
        """Return for how long all threads together have kept a core busy.

        Raises:
            OSError: the process ended, or there is no `/proc`.

        """
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[_USER]) + int(fields[_SYSTEM])) / self._ticks

    def memory(self) -> int:
        """Return how many bytes are resident.

        Raises:
            OSError: the process ended, or there is no `/proc`.

        """
        return self._status("VmRSS:")

    def peak_memory(self) -> int:
        """Return how many were at most, since `forget_peak`.

        Raises:
            OSError: the process ended, or there is no `/proc`.

        """
        return self._status("VmHWM:")

    def forget_peak(self) -> None:
        """Let what is resident now be the most so far.

        https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html

        Raises:
            OSError: the process ended, or there is no `/proc`.

        """
        (self._folder / "clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        status = (self._folder / "status").read_text()
        return int(status.partition(name)[2].split()[0]) << 10
