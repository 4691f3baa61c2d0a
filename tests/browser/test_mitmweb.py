"""Pulls can be read in mitmweb's page, by somebody who knows nothing of registries."""

import re
from collections.abc import Iterator

import pytest

from demo.debug import web_url
from demo.proxy import Proxy
from tests.browser.browser import Browser

COMMENT = "td.col-comment"
VIEW = ".contentview"
FOUND = "token for balenablocks/browser-aarch64/2.3 → 2.3.8+rev2 (commit b4b201f)"
REFUSED = "refused: balenablocks/browser-aarch64 has no release 9.9.9"


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


def show(page: Browser, comment: str, tab: str) -> str:
    """Show a tab of the first flow with the comment; return what is in it."""
    page.find_text(COMMENT, comment).click()
    page.find_text("nav a", tab).click()
    return page.find_text(f"{VIEW} .codeeditor, {VIEW}", "\n").text


def test_comments_tell_the_pulls(page: Browser) -> None:
    """Each request has a line in words, from the first to the last of a pull."""
    comments = page.texts(COMMENT)
    first = comments.index(next(text for text in comments if FOUND in text))
    told = [re.sub(r"[0-9.]+ s$", "… s", text) for text in comments]
    assert told[first - 1] == (
        "manifest latest of balenablocks/browser-aarch64/2.3: told the client to get a"
        " token here"
    )
    assert "asked the API for a token: 200, 561 bytes in … s" in told
    assert "manifest of balenablocks/browser-aarch64/2.3 (2.3.8+rev2), 1.0 kB" in told
    assert (
        "blob 2.1 MB of balenablocks/browser-aarch64/2.3 (2.3.8+rev2), streamed" in told
    )
    assert all(comments)


def test_refusals_stand_out(page: Browser) -> None:
    """What was refused is highlighted, and nothing else is."""
    highlighted = page.texts(f"tr.highlighted {COMMENT}")
    assert len(highlighted) >= 6
    assert all(text.startswith(("refused: ", "asked the API")) for text in highlighted)


def test_request_tells_what_happened(page: Browser) -> None:
    """The request tab has the story and all that is known, which no column has."""
    shown = show(page, FOUND, "Request")
    told = " ".join(shown.split())
    assert "is release 2.3.8+rev2, because it is the greatest final release" in told
    assert re.search(r"commit +b4b201f0003841fd5509c6d06b45899b", shown)
    assert re.search(r"cache +miss", shown)
    assert re.search(r"api_seconds +[0-9.]+ s", shown)


def test_response_shows_claims(page: Browser) -> None:
    """A token is shown as what it says, without what makes it valid."""
    shown = show(page, FOUND, "Response")
    assert "registry token" in shown
    assert re.search(r"who +anonymous, without a login", shown)
    assert re.search(
        r"browser-aarch64/2\.3 +v2/567e62d1e73529e7a31757ac1f3fb902", shown
    )
    assert re.search(r"valid +until .* for 4 h", shown)


def test_manifest_is_a_table(page: Browser) -> None:
    """Layers with their sizes, and whether the digest is right."""
    shown = show(page, "manifest of balenablocks/browser-aarch64/2.3", "Response")
    assert "computed, and the same as Docker-Content-Digest" in shown
    assert "5 layers, 6.3 MB (6,294,454 bytes)" in shown


def test_refusal_is_shown_in_words(page: Browser) -> None:
    """The error of a manifest request, and what the client does with it."""
    rows = [text for text in page.texts(COMMENT) if text.startswith(REFUSED)]
    assert len(rows) == 2
    shown = show(page, REFUSED, "Request")
    assert "The client gets a token all the same, with the refusal in it" in shown


def test_answer_of_the_api_is_a_table(page: Browser) -> None:
    """Releases, as they came from the API."""
    shown = show(page, "asked the API for releases of", "Response")
    assert "registry releases" in shown
    assert re.search(r"2\.3\.8\+rev2 +2 +b4b201f", shown)
