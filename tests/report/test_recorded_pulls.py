"""The page about pulls that a proxy recorded, with every secret in the file."""

from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from pull.client import Client
from pull.reference import parse_reference
from tests.integration.session import get_token
from tests.report.html import page_of

RELEASE = "balenablocks/browser-aarch64/2.3.8"
PRIVATE = "balenablocks/private-block"
WRONG_KEY = "w" * 32


def test_no_secret_of_the_recording_is_told(tmp_path: Path) -> None:
    """A recording with every secret in it makes a page with none."""
    path = tmp_path / "flows"
    options = ("-w", str(path), "--set", "balena_show_secrets=true")
    with LocalCloud() as cloud:
        key = cloud.keys["carol"]
        with Proxy(cloud.registry_url, arguments=options) as proxy:
            url = f"http://{proxy.host}"
            Client(lambda _: None).pull(parse_reference(f"{url}/{RELEASE}"))
            token = get_token(url, PRIVATE, key=key)
            with pytest.raises(requests.HTTPError):
                get_token(url, RELEASE, key=WRONG_KEY)
    jwt, _, aliases = token.partition("~")
    signature = jwt.rpartition(".")[2]
    page = page_of(path)
    assert signature.encode() in path.read_bytes()
    assert PRIVATE in page
    for secret in (key, WRONG_KEY, signature, aliases):
        assert secret not in page
