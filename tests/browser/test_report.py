"""The report opens in a browser from a file, and says what failed first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.debug import PULLS, outcome
from demo.proxy import Proxy
from localcloud import LocalCloud
from report.__main__ import main
from tests.browser.browser import Browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of good and bad pulls."""
    folder = tmp_path_factory.mktemp("report")
    flows, made = folder / "flows", folder / "flows.html"
    with (
        LocalCloud() as cloud,
        Proxy(cloud.registry_url, arguments=("-w", str(flows))) as proxy,
    ):
        for pull in PULLS:
            outcome(f"http://{proxy.host}", pull, cloud)
    assert main([str(flows), "-o", str(made)]) == 0
    return made


@pytest.fixture
def report(browser: Browser, page: Path) -> Iterator[Browser]:
    """The page in the browser, which had nothing to complain about in the end."""
    browser.resize(1280, 900)
    browser.open(page.as_uri())
    yield browser
    assert browser.complaints() == []


def test_failed_pulls_come_first(report: Browser) -> None:
    """The contents begin with what somebody has to do something about."""
    badges = report.texts("#contents .badge")
    assert [badge.split()[-1] for badge in badges] == [
        *("refused", "refused", "unauthorized", "refused"),
        *("served", "served", "served", "others"),
    ]
    assert "its newest are 2.9.3" in report.find("#contents").text


def test_failed_pull_says_why(report: Browser) -> None:
    """Its section begins with the reason, and what helps."""
    why = report.find("#pull-2-why").text
    assert "balenablocks/browser-aarch64 has no release 9.9.9" in why


def test_waterfall_has_every_request(report: Browser) -> None:
    """Those of the client and, below the token, those that the proxy made for it."""
    rows = report.texts("#pull-1 table.waterfall tbody tr")
    names = [row.splitlines()[0].split("  ")[0] for row in rows]
    assert [name.split()[0] for name in names[:2]] == ["manifest", "token"]
    assert len(report.texts("#pull-1 tr.own")) == 3
    assert sum(name.startswith("blob") for name in names) == 6


@pytest.mark.parametrize("width", [400, 1280])
def test_page_fits_the_window(report: Browser, width: int) -> None:
    """Nothing of the page is cut off, in a narrow window either."""
    report.resize(width, 900)
    script = "return document.documentElement.scrollWidth - window.innerWidth"
    assert report.driver.execute_script(script) <= 0
