"""The engine and the images, which are made once."""

from collections.abc import Iterator

import pytest

from registry_proxy import ROOT
from tests.container.engine import Engine, engine_running

BASE = "python-base"
IMAGE = "registry-proxy"
"""The name that `make image` gives it."""


@pytest.fixture(scope="package")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A docker engine with a base image, because none can be pulled."""
    with engine_running(tmp_path_factory.mktemp("engine")) as running:
        running.import_base(BASE)
        yield running


@pytest.fixture(scope="package")
def image(engine: Engine) -> str:
    """The image, as `make image` builds it."""
    script = ROOT / "tools" / "image"
    printed = engine.build([script], PYTHON_IMAGE=BASE)
    assert f"\n{IMAGE}: " in printed
    assert printed.endswith(" MB compressed\n")
    return IMAGE
