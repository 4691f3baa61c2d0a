"""Prints the tables of docs/causes.md, from what the rules say of the samples."""

import sys
from collections.abc import Iterator, Mapping

from cause.evidence import Evidence
from cause.judge import judge
from tests.cause.sample import ACCESS, NETWORK, OWN_NAMES


def rows(samples: Mapping[str, Evidence]) -> Iterator[str]:
    """Yield the rows of a table in Markdown."""
    yield "| what happens | `fault` | what is said | and what to do |"
    yield "|---|---|---|---|"
    for name, seen in samples.items():
        found = judge(seen)
        assert found, f"nothing is said of {name}"
        yield f"| {name} | {found.cause} | {found.sentence} | {found.advice} |"


if __name__ == "__main__":
    for samples in (NETWORK, ACCESS, OWN_NAMES):
        sys.stdout.write("\n".join(rows(samples)) + "\n\n")
