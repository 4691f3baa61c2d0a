"""What the tests of the page share."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where flows are saved."""
    return tmp_path / "some flows"
