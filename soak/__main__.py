"""``make soak``: pulls for MINUTES while everything fails now and then.

What the proxy takes is compared at rest, after a warm-up and at the end, without any
client. The exit status is 1 where something grew, or an answer was wrong. Ctrl-C ends
it with the report so far.
"""

import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Event

from bench.program import ProgramError, as_command
from demo.terminal import say
from soak.client import Client
from soak.fault import TIMEOUT_SECONDS, Scene, Tally, break_now_and_then, open_scene

CLIENTS = 10
WARM_UP_PART, WARM_UP_SECONDS = 0.2, 20
PROGRESS_SECONDS = 15
REST_SECONDS = 5 * TIMEOUT_SECONDS
"""After which nothing may be left of any client."""
GROWTH_MAX = {"MB of memory": 24, "open files": 40, "threads": 32}
"""At rest, since the warm-up: what an allocator may keep of a busy time, up to 32
connections to the API, each with a thread, and some that were reset."""
JWT = "eyJ"
"""What every token begins with."""
_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\):[^\n]*(?:\n [^\n]*)*\n([^\n]*)"
)


def main() -> int:
    """Return the exit status."""
    text = os.environ.get("MINUTES") or "20"
    try:
        seconds = 60 * float(text)
    except ValueError:
        sys.exit(f"soak: MINUTES: {text!r} is no number; write 20 or 0.5")
    tally = Tally()
    with as_command("soak"), open_scene() as scene:
        try:
            run(scene, tally, seconds)
        except KeyboardInterrupt:
            say("Ended early; whether anything grew was not measured.")
        for error in _TRACEBACK.findall(scene.proxy.log):
            tally.find(f"a traceback stands in the log: {error.partition(':')[0]}")
        if any(text in scene.proxy.log for text in (*scene.cloud.keys.values(), JWT)):
            tally.find("a key or a token stands in the log")
    for what, number in sorted(tally.counts.items()):
        say(f"{number:9,} {what}")
    say(f"{len(tally.faults):9,} faults")
    for what, number in tally.findings.most_common():
        say(f"soak: {what} ({number} times)")
    say("soak: something is wrong" if tally.findings else "nothing wrong, nothing grew")
    return 1 if tally.findings else 0


def run(scene: Scene, tally: Tally, seconds: float) -> None:
    """Let clients work, and rest, and work; and find what has grown in between."""
    say(f"{CLIENTS} clients, {seconds / 60:g} minutes; at first {told(scene)}")
    warm = work(scene, tally, max(WARM_UP_SECONDS, seconds * WARM_UP_PART))
    for name, last in work(scene, tally, seconds * (1 - WARM_UP_PART)).items():
        if last - warm[name] > GROWTH_MAX[name]:
            tally.find(f"{name} grew from {warm[name]} to {last}")


def told(scene: Scene) -> str:
    """Return what the proxy takes, in words."""
    found = sample(scene.proxy.process.pid)
    return ", ".join(f"{number} {name}" for name, number in found.items())


def work(scene: Scene, tally: Tally, seconds: float) -> dict[str, int]:
    """Let clients work for so long, and return what the proxy takes after a rest."""
    over, chance = Event(), Random(seconds)  # noqa: S311 - no secret
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(CLIENTS + 1) as threads,
    ):
        futures = [threads.submit(break_now_and_then, scene, tally, chance, over)]
        for number in range(CLIENTS):
            own = Path(tempfile.mkdtemp(dir=folder))
            chance = Random(f"{number} {seconds}")  # noqa: S311
            client = Client(scene, tally, chance, over, own)
            futures.append(threads.submit(client.live))
        try:
            for second in range(round(seconds)):
                time.sleep(1)
                if (status := scene.proxy.process.poll()) is not None:
                    raise ProgramError(f"the proxy ended with status {status}")
                if second % PROGRESS_SECONDS == PROGRESS_SECONDS - 1:
                    say(
                        f"{tally.counts.total():,} answers, {tally.findings.total()}"
                        f" findings; broken is {tally.broken}; {told(scene)}"
                    )
        finally:
            over.set()  # Each finishes what it does.
    for future in futures:
        future.result()
    time.sleep(REST_SECONDS)
    say(f"at rest: {told(scene)}")
    return sample(scene.proxy.process.pid)


def sample(process: int) -> dict[str, int]:
    """Return what a process takes now; `/proc` has it, which only Linux has."""
    folder = Path(f"/proc/{process}")
    status = (folder / "status").read_text()
    return {
        "MB of memory": int(status.partition("VmRSS:")[2].split()[0]) >> 10,
        "open files": len(list((folder / "fd").iterdir())),
        "threads": int(status.partition("Threads:")[2].split()[0]),
    }


if __name__ == "__main__":
    sys.exit(main())
