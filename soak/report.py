"""Decides whether anything grew, and how all of it is told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from soak.measure import Sample, most, slope
from soak.outcome import Outcome, Tally

MEMORY_GROWTH_MAX = 24 << 10
"""Kilobytes more than after the warm-up: what an allocator may keep of a busy time."""
FILES_GROWTH_MAX = 8
"""Connections to the API that were reset stay open here until they are used again."""
KEPT_TO_REGISTRY_MAX = 2
"""Connections that readiness is asked over."""
KEPT_TO_API_MAX = 32
THREADS_MAX = 48
"""Those for the API, for readiness, and asyncio's own, beside a few of mitmproxy's."""
FINDINGS_SHOWN = 50
MEBI = 1 << 10
"""Kilobytes."""


@dataclass(slots=True)
class Record:
    """What the proxy took, from the start to the end."""

    start: Sample | None = None
    warm: Sample | None = None
    """At rest, after the warm-up."""
    end: Sample | None = None
    """At rest, after everything."""
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a soak."""

    seconds: float
    clients: int
    faults: int
    tally: Tally
    record: Record
    is_interrupted: bool = False

    @property
    def status(self) -> int:
        """The exit status: 1 where something was found, or grew."""
        return 1 if self.tally.findings or self.growths else 0

    @property
    def growths(self) -> Sequence[str]:
        """What grew, in words."""
        warm, end = self.record.warm, self.record.end
        return () if warm is None or end is None else list_growths(warm, end)

    def __str__(self) -> str:
        """Return all of it, for a terminal."""
        lines = [*self._requests(), "", *self._resources(), "", *self._findings()]
        return "\n".join(lines)

    def _requests(self) -> list[str]:
        tally = self.tally
        rate = tally.requests / self.seconds if self.seconds else 0.0
        interrupted = ", interrupted" if self.is_interrupted else ""
        rows = {
            "duration": f"{self.seconds / 60:.1f} minutes{interrupted}",
            "clients": f"{self.clients}",
            "requests": f"{tally.requests}, {rate:.0f} a second",
            "pulls": f"{tally.pulls}, each digest verified",
            "content": f"{tally.bytes / 1e6:.0f} MB",
        }
        names = {
            Outcome.GRANTED: "granted",
            Outcome.REFUSED: "refused rightly",
            Outcome.LEFT: "left by the client",
            Outcome.FAILED: "failed by a fault",
        }
        for outcome, name in names.items():
            counts = tally.count(outcome)
            details = "" if outcome is Outcome.LEFT else _list(counts)
            rows[name] = f"{counts.total()}{details}"
        rows["faults"] = f"{self.faults}"
        rows["unexplained"] = f"{len(tally.findings)}"
        return [f"{name:20}{value}" for name, value in rows.items()]

    def _resources(self) -> list[str]:
        record = self.record
        if record.start is None:
            return ["No /proc here, so memory, files and threads were not measured."]
        columns = {
            "start": record.start,
            "warmed up": record.warm,
            "most": most(record.samples) if record.samples else None,
            "end": record.end,
        }
        rows = {
            "RSS, MB": [_megabytes(sample) for sample in columns.values()],
            **{
                name: [_value(sample, key) for sample in columns.values()]
                for name, key in (
                    ("open files", "files"),
                    ("threads", "threads"),
                    ("from clients", "clients"),
                    ("to the registry", "registry"),
                    ("to the API", "api"),
                )
            },
        }
        half = record.samples[len(record.samples) // 2 :]
        return [
            f"{'':20}" + "".join(f"{name:>11}" for name in columns),
            *(
                f"{name:20}" + "".join(f"{value:>11}" for value in values)
                for name, values in rows.items()
            ),
            f"{'RSS, second half':20}{slope(half):+.0f} kB a minute",
        ]

    def _findings(self) -> list[str]:
        findings = self.tally.findings
        lines = [f"unexplained: {f.text}" for f in findings[:FINDINGS_SHOWN]]
        if len(findings) > FINDINGS_SHOWN:
            lines.append(f"... and {len(findings) - FINDINGS_SHOWN} more")
        lines += [f"grows: {growth}" for growth in self.growths]
        if self.record.warm is None or self.record.end is None:
            lines.append("whether anything grows was not measured")
        elif not self.growths:
            lines.append("nothing grows")
        return lines


def list_growths(warm: Sample, end: Sample) -> list[str]:
    """Return what the proxy takes more of at the end than after the warm-up.

    Connections to the API are kept by design, up to a number; so are threads.
    """
    growths = []
    if end.memory - warm.memory > MEMORY_GROWTH_MAX:
        growths.append(f"RSS, from {_megabytes(warm)} to {_megabytes(end)} MB")
    if end.own_files - warm.own_files > FILES_GROWTH_MAX:
        growths.append(
            f"open files, from {warm.own_files} to {end.own_files} beside connections"
            " that are kept"
        )
    limits = {
        "threads": (end.threads, THREADS_MAX),
        "connections to the registry": (end.registry, KEPT_TO_REGISTRY_MAX),
        "connections to the API": (end.api, KEPT_TO_API_MAX),
    }
    growths += [
        f"{name}, {number} at rest, more than {limit}"
        for name, (number, limit) in limits.items()
        if number > limit
    ]
    return growths


def _list(counts: Counter[str]) -> str:
    parts = [f"{detail} {number}" for detail, number in counts.most_common()]
    return f": {', '.join(parts)}" if parts else ""


def _megabytes(sample: Sample | None) -> str:
    return "-" if sample is None else f"{sample.memory / MEBI:.1f}"


def _value(sample: Sample | None, name: str) -> str:
    return "-" if sample is None else str(getattr(sample, name))
