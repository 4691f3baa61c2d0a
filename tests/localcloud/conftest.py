"""The clouds that the tests share: as measured, and with images published."""

from collections.abc import Iterator

import pytest

from localcloud import LocalCloud


@pytest.fixture(scope="session")
def measured() -> Iterator[LocalCloud]:
    """Yield a cloud with the catalog as measured and no registry.

    The names are those of the measured installation: lengths and ETags were
    recorded with them, though the recorded bodies show others.
    """
    with LocalCloud(
        serve_registry=False,
        publish=False,
        registry_host="127.0.0.1:55000",
        issuer_name="api.oba.local",
    ) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """Yield a cloud that serves its images itself."""
    with LocalCloud() as cloud:
        yield cloud
