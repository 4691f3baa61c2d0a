"""Prints the tables of docs/causes.md, from what the rules say of the samples."""

import sys
from collections.abc import Iterator, Mapping

from cause.evidence import Evidence
from cause.finding import Finding
from cause.judge import judge
from tests.cause.sample import ACCESS, HANDSHAKES, NETWORK, OWN_NAMES

type Samples = Mapping[str, Evidence | Finding]

TABLES: tuple[Samples, ...] = (NETWORK, ACCESS, HANDSHAKES, OWN_NAMES)


def rows(samples: Samples) -> Iterator[str]:
    """Yield the rows of a table in Markdown."""
    yield "| what happens | `fault` | what is said | and what to do |"
    yield "|---|---|---|---|"
    for name, seen in samples.items():
        found = seen if isinstance(seen, Finding) else judge(seen)
        assert found, f"nothing is said of {name}"
        yield f"| {name} | {found.cause} | {found.sentence} | {found.advice} |"


if __name__ == "__main__":
    for samples in TABLES:
        sys.stdout.write("\n".join(rows(samples)) + "\n\n")
