"""docs/causes.md has what is said."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cause.evidence import Evidence
from tests.cause.sample import ACCESS, NETWORK, OWN_NAMES
from tests.cause.table import rows

PAGE = Path(__file__).parents[2] / "docs" / "causes.md"


@pytest.mark.parametrize(
    "samples",
    [NETWORK, ACCESS, OWN_NAMES],
    ids=["network", "access", "own names"],
)
def test_table(samples: Mapping[str, Evidence]) -> None:
    """Each row of the table is what the rules say; tests/cause/table.py prints it."""
    assert "\n".join(rows(samples)) in PAGE.read_text()
