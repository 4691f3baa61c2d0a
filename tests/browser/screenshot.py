"""Takes the pictures of the documentation from the real thing: `make screenshots`."""

import tempfile
from pathlib import Path

from demo.debug import BROWSER, PULLS, outcome, web_url
from demo.proxy import Proxy
from localcloud import LocalCloud
from registry_proxy import ROOT, command
from tests.browser.browser import Browser, browsing

FOLDER = ROOT / "docs" / "images"
REFUSED = "refused: balenablocks/browser-aarch64 has no release 9.9.9"
FOUND = "token for balenablocks/browser-aarch64/2.3"
MANIFEST = "manifest of balenablocks/browser-aarch64/2.3"


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
        take_mitmweb(browser, web_url(proxy))
        take_report(browser, Path(folder) / "flows")


def take_mitmweb(browser: Browser, url: str) -> None:
    """Take the flow list, and what is to be seen of single flows."""
    browser.resize(1280, 900)
    browser.open(url)
    browser.find_text("td.col-comment", FOUND)
    browser.picture(FOLDER / "flows.png")
    browser.resize(1600, 900)
    for comment, tab, name in (
        (REFUSED, "Request", "refused.png"),
        (FOUND, "Response", "claims.png"),
        (MANIFEST, "Response", "manifest.png"),
    ):
        browser.find_text("td.col-comment", comment).click()
        browser.find_text("nav a", tab).click()
        browser.find_text(".contentview h5", "registry" if tab != "Request" else "No")
        browser.picture(FOLDER / name)


def take_report(browser: Browser, flows: Path) -> None:
    """Take the beginning of a report, and a pull that failed."""
    page = flows.with_suffix(".html")
    command.main(["report", str(flows), "-o", str(page)])
    browser.resize(1280, 900)
    browser.open(page.as_uri())
    browser.find("#contents")
    browser.picture(FOLDER / "report.png")
    browser.picture(FOLDER / "waterfall.png", "#pull-1")


if __name__ == "__main__":
    main()
