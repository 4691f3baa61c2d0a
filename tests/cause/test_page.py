"""docs/causes.md has what is said."""

from pathlib import Path

from tests.cause.sample import NETWORK
from tests.cause.table import rows

PAGE = Path(__file__).parents[2] / "docs" / "causes.md"


def test_table() -> None:
    """Each row of the table is what the rules say; tests/cause/table.py prints it."""
    assert "\n".join(rows(NETWORK)) in PAGE.read_text()
