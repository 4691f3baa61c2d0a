"""The servers that the tests of this folder ask."""

from collections.abc import Iterator

import pytest

from tests.pull.site import Site, sited


@pytest.fixture
def site() -> Iterator[Site]:
    """A registry, a token server and a storage on loopback."""
    with sited() as whole:
        yield whole
