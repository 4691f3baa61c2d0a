"""The page about pulls that a proxy recorded, with every secret in the file."""

from dataclasses import dataclass

import pytest
import requests

from demo.client import Client, PullError
from demo.proxy import Proxy
from localcloud import LocalCloud
from report.grouping import Groups, group_requests
from report.page import Page, render
from report.recording import read_recording
from tests.integration.session import get_token
from tests.report.html import Element, Reader

GOOD = "balenablocks/browser-aarch64/2.3.8"
WRONG = "balenablocks/browser-aarch64/9.9.9"
PRIVATE = "balenablocks/private-block/1.0.0"
OWN = "balenablocks/private-block"
OTHER = "balenablocks/browser-aarch64/2.3"
WRONG_KEY = "w" * 32


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded, and what must not be told of it."""

    saved: bytes
    source: str
    groups: Groups
    secrets: tuple[str, ...]

    @property
    def page(self) -> Element:
        """The page, taken apart."""
        return Reader.read(self.source)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A recording of good pulls and bad ones."""
    path = tmp_path_factory.mktemp("report") / "flows"
    options = ("-w", str(path), "--set", "balena_show_secrets=true")
    with LocalCloud() as cloud:
        key = cloud.keys["carol"]
        with Proxy(cloud.registry_url, arguments=options) as proxy:
            url = f"http://{proxy.host}"
            Client(url, lambda _step: None).pull(GOOD)
            for refused in (WRONG, PRIVATE):
                with pytest.raises(PullError):
                    Client(url, lambda _step: None).pull(refused)
            token = get_token(url, OWN, key=key)
            with pytest.raises(requests.HTTPError):
                get_token(url, OTHER, key=WRONG_KEY)
    recording = read_recording(path)
    groups = group_requests(recording.requests)
    jwt, _, aliases = token.partition("~")
    secrets = (key, WRONG_KEY, jwt.rpartition(".")[2], aliases)
    source = render(Page(recording, groups))
    return Recorded(path.read_bytes(), source, groups, secrets)


def test_pulls_are_told_apart(recorded: Recorded) -> None:
    """Each pull is one of its own, with what came of it."""
    assert [(pull.alias, pull.result) for pull in recorded.groups.pulls] == [
        (GOOD, "served"),
        (WRONG, "refused"),
        (PRIVATE, "refused"),
        (OWN, None),
        (OTHER, "unauthorized"),
    ]


def test_story_of_a_served_pull(recorded: Recorded) -> None:
    """The page shows what the proxy asked for the token, and which release it is."""
    pull = recorded.page.one("section", id="pull-1")
    assert "2.3.8+rev2 (b4b201f)" in pull.find("h2")[0].text
    rows = [row.find("th")[0].text for row in pull.one("tbody").find("tr")]
    assert rows[:3] == [
        "manifest latest",
        "token",
        "made for the one above: ping of the registry",
    ]
    assert "made for the one above: look-up at the API" in rows
    assert "the highest revision of 2.3.8" in pull.one(class_="decisions").text
    assert "good for 4 h" in pull.one(class_="decisions").text


def test_reasons_of_refused_pulls(recorded: Recorded) -> None:
    """The top of each pull that failed says why."""
    reasons = [why.text for why in recorded.page.find(class_="why")]
    expected = (
        "has no release 9.9.9 that can be pulled",
        "is private or does not exist",
        "the balena API does not accept these credentials",
    )
    for reason, words in zip(reasons, expected, strict=True):
        assert words in reason


def test_no_secret_of_the_recording_is_told(recorded: Recorded) -> None:
    """A recording with every secret in it makes a page with none."""
    for secret in recorded.secrets:
        assert secret not in recorded.source
    # The key stands there as base64 only.
    assert recorded.secrets[2].encode() in recorded.saved
