"""The report opens in a browser from a file, and fits its window."""

from pathlib import Path

import pytest

from tests.browser.browser import Browser
from tests.report.flow import docker_pull, refused_pull
from tests.report.html import page_source


@pytest.mark.parametrize("width", [400, 1280])
def test_page_fits_the_window(browser: Browser, tmp_path: Path, width: int) -> None:
    """Nothing of the page is cut off, or complained about, also if that is narrow."""
    page = tmp_path / "page.html"
    page.write_text(page_source(tmp_path, [*docker_pull(), *refused_pull(at=9)]))
    browser.resize(width, 900)
    browser.open(page.as_uri())
    browser.find("#pull-2-why")
    script = "return document.documentElement.scrollWidth - window.innerWidth"
    assert browser.driver.execute_script(script) <= 0
    assert browser.complaints() == []
