"""A real browser without a window, and what it complains about."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.integration.tool import find_tool

SECONDS = 30
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests run as root in CI
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--disable-lcd-text",  # colours at the edges of letters make pictures larger
    "--hide-scrollbars",
)
WIDTH, HEIGHT = 1280, 720


class Browser:
    """A page in Chromium."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """Return the first element that the CSS selector fits, once there is one."""
        return self._until(lambda: self._all(selector), f"{selector} on the page")[0]

    def find_text(self, selector: str, text: str) -> WebElement:
        """Return the first such element with the text in it, once there is one."""
        return self._until(
            lambda: [found for found in self._all(selector) if text in found.text],
            f"{text!r} in {selector}",
        )[0]

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all such elements."""
        return self._until(
            lambda: [[found.text for found in self._all(selector)]], selector
        )[0]

    def complaints(self) -> list[str]:
        """Return what scripts and the page's security policy complained about."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def resize(self, width: int, height: int) -> None:
        """Make the window so large."""
        self.driver.set_window_size(width, height)

    def prefer(self, scheme: str) -> None:
        """Say that the user prefers pages that are light, or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        emulate = "Emulation.setEmulatedMedia"
        self.driver.execute_cdp_cmd(emulate, {"features": [feature]})

    def picture(self, path: Path, selector: str | None = None) -> None:
        """Save what is to be seen, or an element."""
        shown = self.find(selector) if selector else self.driver
        if isinstance(shown, WebElement):
            # Else what is not in the window is left out.
            self.driver.execute_script("arguments[0].scrollIntoView()", shown)
            assert shown.screenshot(str(path))
        else:
            assert shown.save_screenshot(str(path))

    def _all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def _until[T](self, look: Callable[[], T], what: str) -> T:
        # A page may replace what was found just now.
        gone = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, SECONDS, 0.1, gone)
        return wait.until(lambda _: look(), f"there is no {what}")


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Yield a browser with an empty profile; it ends with the context."""
    options = webdriver.ChromeOptions()
    options.binary_location = find_tool("chromium")
    for flag in (
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--window-size={WIDTH},{HEIGHT}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(find_tool("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
