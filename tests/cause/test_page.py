"""docs/causes.md has what is said."""

from pathlib import Path

import pytest

from tests.cause.table import TABLES, Samples, rows

PAGE = Path(__file__).parents[2] / "docs" / "causes.md"


@pytest.mark.parametrize(
    "samples", TABLES, ids=["network", "access", "handshakes", "own names"]
)
def test_table(samples: Samples) -> None:
    """Each row of the table is what the rules say; tests/cause/table.py prints it."""
    assert "\n".join(rows(samples)) in PAGE.read_text()
