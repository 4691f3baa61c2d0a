"""Takes the pictures of the documentation from the real thing: `make screenshots`.

Each is taken twice, for readers of light and of dark pages.
"""

import tempfile
from pathlib import Path

from demo.debug import BROWSER, PULLS, outcome, page_url, web_url
from demo.proxy import Proxy
from localcloud import LocalCloud
from registry_proxy import ROOT, command
from tests.browser.browser import Browser, browsing
from tests.browser.slow import Site, slow_site

FOLDER = ROOT / "docs" / "images"
SCHEMES = {"light": "", "dark": "-dark"}
"""What the browser's user prefers, and how the names of the pictures end."""
REFUSED = "refused: balenablocks/browser-aarch64 has no release 9.9.9"
FOUND = "token for balenablocks/browser-aarch64/2.3"


def main() -> None:
    """Save every picture."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCloud() as cloud,
        Proxy(
            cloud.registry_url,
            arguments=(*BROWSER, "-w", f"{folder}/flows"),
            program="mitmweb",
        ) as proxy,
        browsing(Path(folder) / "profile") as browser,
    ):
        for pull in PULLS:
            outcome(f"http://{proxy.host}", pull, cloud)
        report = write_report(Path(folder) / "flows")
        for scheme, ending in SCHEMES.items():
            browser.prefer(scheme)
            take_mitmweb(browser, web_url(proxy), ending)
            take_report(browser, report, ending)
    with (
        tempfile.TemporaryDirectory() as folder,
        slow_site() as site,
        browsing(Path(folder) / "profile") as browser,
    ):
        for pull in PULLS[:2]:
            site.pull(pull)
        take_pulls(browser, site)


def take_mitmweb(browser: Browser, url: str, ending: str) -> None:
    """Take the flow list, and what is to be seen of single flows."""
    browser.resize(1280, 1040)
    browser.open(url)
    browser.find_text("td.col-comment", REFUSED)
    browser.picture(FOLDER / f"flows{ending}.png")
    for comment, tab, heading, name in (
        (REFUSED, "Request", "No", "refused"),
        (FOUND, "Response", "registry", "claims"),
    ):
        browser.find_text("td.col-comment", comment).click()
        browser.find_text("nav a", tab).click()
        browser.find_text(".contentview h5", heading)
        browser.picture(FOLDER / f"{name}{ending}.png")


def take_pulls(browser: Browser, site: Site) -> None:
    """Take the page of pulls while one runs."""
    browser.resize(1280, 1220)
    browser.open(page_url(site.proxy))
    browser.find_text(".why", REFUSED.removeprefix("refused: "))
    browser.find_text("#totals div:nth-child(2) dd", "0")
    with site.pulling("balenablocks/browser-aarch64/2.3.8"):
        browser.find_text(".pull.going-on .waterfall tr", "of 2.1 MB")
        browser.find_text(".pull.going-on .result", "kB/s")
        for scheme, ending in SCHEMES.items():
            browser.prefer(scheme)
            browser.picture(FOLDER / f"pulls{ending}.png")


def write_report(flows: Path) -> Path:
    """Return the page about what was pulled."""
    page = flows.with_suffix(".html")
    command.main(["report", str(flows), "-o", str(page)])
    return page


def take_report(browser: Browser, page: Path, ending: str) -> None:
    """Take the beginning of a report, and a pull that failed."""
    browser.resize(1280, 760)
    browser.open(page.as_uri())
    browser.find("#contents")
    browser.picture(FOLDER / f"report{ending}.png")
    browser.resize(1280, 1040)
    browser.picture(FOLDER / f"waterfall{ending}.png", "#pull-1")


if __name__ == "__main__":
    main()
