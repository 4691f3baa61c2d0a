"""Blobs go through as they come: with ranges, redirects, and in constant memory."""

import hashlib
import re
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud.relay import Failure, Fault, Relay
from tests.client.client import Skopeo
from tests.integration.blob import (
    ALIAS,
    LOCATION,
    first_layer,
    peak_megabytes,
    push_blob,
)
from tests.integration.registry import installed
from tests.integration.session import TIMEOUT, logged_in
from tests.integration.storage import storing
from tests.integration.tool import ToolError, wait_until

GROWTH_MEGABYTES_MAX = 40


def test_storage_that_cannot_be_reached(skopeo: Skopeo, tmp_path: Path) -> None:
    """The client itself says so, as the storage is its own affair, and recovers."""
    with (
        storing(tmp_path) as storage,
        Relay(storage.port) as cable,
        installed(
            tmp_path, redirect_to=f"http://localhost:{cable.port}"
        ) as installation,
        Proxy(installation.url) as proxy,
    ):
        for broken in (cable.refuse, lambda: cable.fail(Fault(Failure.RESET))):
            broken()
            with pytest.raises(ToolError, match=f"localhost:{cable.port}"):
                skopeo.pull(f"{proxy.host}/{ALIAS}")
            cable.mend()
            pulled = skopeo.pull(f"{proxy.host}/{ALIAS}")
            assert pulled == installation.digest(LOCATION)


def test_range_beyond_the_end(proxy: Proxy) -> None:
    """A range that has nothing is 416 in words, though the registry breaks off."""
    url = f"http://{proxy.host}"
    with logged_in(url, ALIAS) as session:
        digest, size = first_layer(session, url, ALIAS)
        answer = session.get(
            f"{url}/v2/{ALIAS}/blobs/{digest}",
            headers={"Range": f"bytes={size + 10}-"},
            timeout=TIMEOUT,
        )
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    (error,) = answer.json()["errors"]
    assert error["message"].startswith(
        f"no byte is in the range 'bytes={size + 10}-': the length is {size} bytes"
    )
    # The log has its line once the registry has broken off as well.
    line = re.compile(rf".*\[{answer.headers['X-Request-Id'][:8]}\]")
    wait_until(lambda: line.search(proxy.log) is not None, "a line in the log")
    assert ": 416 UNSUPPORTED, no byte" in str(line.findall(proxy.log))


def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    """A blob larger than the proxy goes through it, and nothing of it stays."""
    with installed(tmp_path) as installation, Proxy(installation.url) as proxy:
        digest = push_blob(installation)
        url = f"http://{proxy.host}"
        with logged_in(url, ALIAS) as session:
            first_layer(session, url, ALIAS)
            before = peak_megabytes(proxy.process.pid)
            read = hashlib.sha256()
            with session.get(
                f"{url}/v2/{ALIAS}/blobs/{digest}", stream=True, timeout=TIMEOUT
            ) as answer:
                for chunk in answer.iter_content(1 << 20):
                    read.update(chunk)
        assert f"sha256:{read.hexdigest()}" == digest
        assert peak_megabytes(proxy.process.pid) - before < GROWTH_MEGABYTES_MAX
