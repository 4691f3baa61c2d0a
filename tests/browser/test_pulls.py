"""The page of pulls shows in a real browser what runs, while it runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from demo.debug import PULLS, page_url
from demo.proxy import Proxy
from localcloud import LocalCloud
from registry_proxy.port import free_port
from tests.browser.browser import Browser
from tests.browser.slow import Site, slow_site

REFERENCE = "balenablocks/browser-aarch64/2.3.8"
CARD = ".pull:not([hidden])"
NOTHING_RUNS = "return !document.querySelector('.pull.going-on')"
REFUSED = "has no release 9.9.9"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A proxy with good and bad pulls."""
    with slow_site() as running:
        for pull in PULLS:
            running.pull(pull)
        yield running


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Browser]:
    """The page, about which the browser had nothing to complain in the end."""
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.complaints()
    browser.open("about:blank")
    browser.open(page_url(site.proxy))
    browser.find_text("#status", "Live")
    browser.find_text(".why", REFUSED)
    wait(browser, NOTHING_RUNS, "an end of the pulls before")
    yield browser
    assert browser.complaints() == []


def run(page: Browser, script: str) -> object:
    """Return what the script returns."""
    return page.driver.execute_script(script)


def wait(page: Browser, script: str, what: str) -> None:
    """Wait until the script returns true."""
    page._until(lambda: run(page, script), what)


def bar_width(page: Browser) -> float:
    """Return how much of the running pull is there, in percent."""
    # In one step, because the page replaces the card again and again.
    meter = "document.querySelector('.pull.going-on .meter .filled')"
    return float(
        str(run(page, f"return parseFloat({meter}?.getAttribute('width')) || 0"))
    )


def test_pull_is_seen_while_it_runs(page: Browser, site: Site) -> None:
    """Its card appears by itself, grows, and says in the end what came of it."""
    before = len(page.texts(CARD))
    with site.pulling(REFERENCE):
        page.find_text(".pull.going-on .badge", "running")
        count = f"return document.querySelectorAll('{CARD}').length"
        assert run(page, count) == before + 1
        page.find_text(".pull:first-of-type h2", REFERENCE)
        page.find_text(".pull.going-on .waterfall tr", "of 2.1 MB")
        first = bar_width(page)
        page._until(lambda: bar_width(page) > first, "a bar that grows")
        page.find_text(".pull.going-on .result", "kB/s")
    page.find_text(".pull .badge", "served")
    wait(page, NOTHING_RUNS, "an end")
    assert "6.3 MB in" in page.texts(".pull .result")[0]
    # It stays open, because somebody may be reading it.
    assert page.texts(".pull .waterfall")


def test_failures_only(page: Browser) -> None:
    """Who looks for what failed sees that, with its reason, and how many there are."""
    page.find("#failures").click()
    page.find_text("#shown", "4 of ")
    assert all("served" not in text for text in page.texts(CARD))
    page.find("#wanted").send_keys("multi-app")
    page.find_text("#shown", "1 of ")
    assert "has several images: db, web" in page.find(f"{CARD} .why").text
    page.find("#failures").click()
    page.find("#wanted").clear()
    page.find("#wanted").send_keys("no such name")
    page.find_text("#shown", "0 of ")


def test_row_leads_to_its_request(page: Browser) -> None:
    """From a request in a pull it is one click to all that mitmweb knows of it."""
    card = page.find_text(CARD, REFUSED)
    summary = card.find_element(By.CSS_SELECTOR, "summary")
    summary.click()
    page.find_text(f"{CARD} .waterfall tr.bad a", "manifest").click()
    page.find_text(".contentview", REFUSED)
    page.complaints()  # Those of mitmweb's own page.


def test_page_is_used_by_keyboard(page: Browser) -> None:
    """What has the focus keeps it, and what is open stays open, while pulls change."""
    card = page.find_text(CARD, REFUSED)
    number = card.get_attribute("id")
    card.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
    page.find(f"#{number} .waterfall")
    run(page, f"shown.delete('{number}'.slice(5)); askFor('{number}'.slice(5))")
    wait(page, "return stale.size === 0 && !asking", "an answer")
    focused = "return document.activeElement.closest('.pull')?.id"
    assert run(page, focused) == number
    assert page.find(f"#{number} details.requests").get_attribute("open")


def test_answer_that_does_not_come(page: Browser) -> None:
    """What somebody opens is there as soon as the proxy answers again."""
    fail = "const real = fetch; fetch = () => (fetch = real, Promise.reject(Error()))"
    card = page.find_text(CARD, REFUSED)
    number = card.get_attribute("id")
    run(page, f"{fail}; show('{number}'.slice(5))")
    page.find_text("#status", "The proxy has not answered since")
    page.find(f"#{number} .waterfall")


def test_very_many_are_open(page: Browser) -> None:
    """The one that was opened first is closed, and each of the others is asked for."""
    card = page.find_text(CARD, REFUSED)
    number = card.get_attribute("id")
    card.find_element(By.CSS_SELECTOR, "summary").click()
    page.find(f"#{number} .waterfall")
    watch = (
        "window.asked = ''; const real = fetch;"
        "fetch = (...all) => (asked += all[0].split('again=')[1] + ',', real(...all))"
    )
    ids = "Array.from({length: 25}, (_, index) => String(1000 + index))"
    run(page, f"{watch}; {ids}.forEach(show)")
    closed = f"return !document.querySelector('#{number} details.requests').open"
    wait(page, closed, "an end of what was opened first")
    wait(page, f"return {ids}.every((id) => asked.includes(id))", "a question for each")
    assert run(page, "return open.size") == 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_fits_its_reader(page: Browser, width: int, scheme: str) -> None:
    """Nothing is cut off on a phone, and the colours are those of the reader."""
    page.resize(width, 800)
    page.prefer(scheme)
    for summary in page._all(f"{CARD} summary")[:3]:
        if not summary.find_element(By.XPATH, "..").get_attribute("open"):
            summary.click()
    page.find(f"{CARD} .waterfall")
    script = "return document.documentElement.scrollWidth - window.innerWidth"
    assert run(page, script) <= 0  # type: ignore[operator]
    ground = run(page, "return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 26)" if scheme == "dark" else "rgb(247, 247, 245)")


def test_address_leads_to_a_pull(page: Browser, site: Site) -> None:
    """Who follows a link to a pull finds it open."""
    page.open("about:blank")
    page.open(f"{page_url(site.proxy).partition('?')[0]}#pull-2")
    page.find("#pull-2 .waterfall")


def test_proxy_that_is_gone_and_back(browser: Browser, tmp_path: Path) -> None:
    """The page says since when nobody answers, and goes on by itself."""
    file = tmp_path / "token"
    file.write_text("0123456789abcdef")
    variables = {"PULLS_PORT": str(free_port()), "PULLS_TOKEN": str(file)}
    with LocalCloud() as cloud:
        with Proxy(cloud.registry_url, environment=variables) as proxy:
            browser.open(f"{page_url(proxy)}?token={file.read_text()}")
            browser.find_text("#status", "Live")
            browser.find_text("#empty", "There was no pull yet.")
        browser.find_text("#status", "The proxy has not answered since")
        with Proxy(cloud.registry_url, environment=variables):
            browser.find_text("#status", "Live")
        file.write_text("fedcba9876543210")
        with Proxy(cloud.registry_url, environment=variables):
            browser.find_text("#status", "open the address that its log names")
    browser.complaints()  # About answers that there were not.
