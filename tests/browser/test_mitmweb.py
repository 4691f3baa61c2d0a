"""Pulls can be read in mitmweb's page, by somebody who knows nothing of registries."""

from collections.abc import Iterator

import pytest

from demo.debug import web_url
from demo.proxy import Proxy
from tests.browser.browser import Browser

COMMENT = "td.col-comment"
VIEW = ".contentview"
FOUND = "token for balenablocks/browser-aarch64/2.3 → 2.3.8+rev2 (commit b4b201f)"


@pytest.fixture
def page(browser: Browser, mitmweb: Proxy) -> Iterator[Browser]:
    """The page, on which there was no script error in the end."""
    browser.resize(1600, 2400)
    browser.open("about:blank")
    browser.open(web_url(mitmweb))
    browser.find_text(COMMENT, FOUND)
    yield browser
    # mitmproxy 12.3 names the source of a style sheet that it does not ship.
    ours = [text for text in browser.complaints() if "vendor.less" not in text]
    assert ours == []


def test_refusals_stand_out(page: Browser) -> None:
    """Each request has a line in words, and what was refused is highlighted."""
    assert all(page.texts(COMMENT))
    highlighted = page.texts(f"tr.highlighted {COMMENT}")
    assert len(highlighted) >= 6
    assert all(text.startswith(("refused: ", "asked the API")) for text in highlighted)


@pytest.mark.parametrize(
    ("comment", "tab", "text"),
    [
        (FOUND, "Request", "asked for a token to pull"),
        (FOUND, "Response", "anonymous, without a login"),
        ("manifest of balenablocks/browser", "Response", "5 layers, 6.3 MB"),
        ("asked the API for releases of", "Response", "registry releases"),
    ],
)
def test_view_is_shown_unasked(
    page: Browser, comment: str, tab: str, text: str
) -> None:
    """A click on a flow shows what happened, and what a body says."""
    page.find_text(COMMENT, comment).click()
    page.find_text("nav a", tab).click()
    assert text in page.find_text(f"{VIEW} .codeeditor, {VIEW}", "\n").text
