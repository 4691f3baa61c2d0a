"""Decides how a soak goes: a warm-up, a rest, the long part, and a last rest.

What the proxy takes is compared from one rest to the other, without any client; what
it takes under load is another matter.
"""

import time
from collections.abc import Callable

from soak import crew
from soak.fault import History
from soak.log import examine_log
from soak.measure import Meter, Ports, Sample
from soak.outcome import Outcome, Tally
from soak.report import KEPT_TO_REGISTRY_MAX, MEBI, Record, Report
from soak.scene import TIMEOUT_SECONDS, Scene, set_scene

WARM_UP_SECONDS = 10
WARM_UP_PART = 0.1
WARM_UP_PART_MOST = 0.5
SAMPLE_SECONDS = 1
PROGRESS_SECONDS = 10
REST_SECONDS_MOST = 2 * TIMEOUT_SECONDS
REST_PACE_SECONDS = 0.1

type Say = Callable[[str], None]


class ProxyEnded(Exception):
    """The proxy is gone; it has been noted."""


def run(seconds: float, say: Say) -> Report:
    """Return what came of a soak of so many seconds."""
    with set_scene() as scene:
        course = Course(scene, seconds, say)
        try:
            course.run()
        except ProxyEnded:
            pass
        except KeyboardInterrupt:
            course.interrupt()
        return course.report()


def warm_up_seconds(seconds: float) -> float:
    """Return how much of a soak is its warm-up."""
    part = max(WARM_UP_SECONDS, WARM_UP_PART * seconds)
    return min(part, WARM_UP_PART_MOST * seconds)


class Course:
    """One soak."""

    def __init__(self, scene: Scene, seconds: float, say: Say) -> None:
        self._scene = scene
        self._seconds = seconds
        self._say = say
        ports = Ports(scene.proxy.port, scene.registry.port, scene.api.port)
        self._meter = Meter(scene.proxy.process.pid, ports)
        self._history = History()
        self._tally = Tally(self._history, time.monotonic)
        self._record = Record(self._meter.read())
        self._worked = 0.0
        self._told = 0.0
        self._is_interrupted = False

    def run(self) -> None:
        """Let the crew work, and rest, and work.

        Raises:
            ProxyEnded: the proxy did.

        """
        warm_up = warm_up_seconds(self._seconds)
        self._say(
            f"{crew.CLIENTS} clients ask {self._scene.url} for"
            f" {self._seconds / 60:g} minutes"
        )
        self._work("warm-up", warm_up)
        self._record.warm = self._rest()
        self._work("work", self._seconds - warm_up)
        self._record.end = self._rest()

    def interrupt(self) -> None:
        """Take note that the rest of it is left out."""
        self._is_interrupted = True
        self._tally.interrupt()

    def report(self) -> Report:
        """Return what came of it, with what the proxy's log says of it."""
        keys = self._scene.cloud.keys.values()
        for text in examine_log(
            self._scene.proxy.log, keys, is_interrupted=self._is_interrupted
        ):
            self._tally.find(text)
        return Report(
            self._worked,
            crew.CLIENTS,
            len(self._history),
            self._tally,
            self._record,
            self._is_interrupted,
        )

    def _work(self, shift: str, seconds: float) -> None:
        """Let the crew work for so long, and watch the proxy meanwhile."""
        began, before = time.monotonic(), self._worked
        with crew.at_work(self._scene, self._history, self._tally, shift):
            while (worked := time.monotonic() - began) < seconds:
                time.sleep(min(SAMPLE_SECONDS, seconds - worked))
                self._worked = before + time.monotonic() - began
                self._watch()

    def _watch(self) -> None:
        """Look at the proxy once, and say now and then how it goes."""
        status = self._scene.proxy.process.poll()
        if status is not None:
            self._tally.find(f"the proxy ended with status {status}")
            raise ProxyEnded
        if sample := self._meter.read():
            self._record.samples.append(sample)
        if self._worked - self._told >= PROGRESS_SECONDS:
            self._told = self._worked
            self._say(self._progress())

    def _progress(self) -> str:
        tally, samples = self._tally, self._record.samples
        failed = tally.count(Outcome.FAILED).total()
        takes = (
            f"; {samples[-1].memory / MEBI:.0f} MB, {samples[-1].files} files"
            if samples
            else ""
        )
        current = self._history.current()
        broken = f"; {current}" if current else ""
        return (
            f"{self._worked / 60:.1f} of {self._seconds / 60:g} minutes:"
            f" {tally.requests} requests, {tally.pulls} pulls, {failed} failed by a"
            f" fault, {len(tally.findings)} unexplained{takes}{broken}"
        )

    def _rest(self) -> Sample | None:
        """Return what the proxy takes once all clients have gone."""
        last = time.monotonic() + REST_SECONDS_MOST
        sample = self._meter.read()
        while sample and time.monotonic() < last and not _is_at_rest(sample):
            time.sleep(REST_PACE_SECONDS)
            sample = self._meter.read()
        return sample


def _is_at_rest(sample: Sample) -> bool:
    return not sample.clients and sample.registry <= KEPT_TO_REGISTRY_MAX
