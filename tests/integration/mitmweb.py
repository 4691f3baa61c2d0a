"""mitmweb's own interface, as its page uses it, and all that can be had by it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from demo.debug import BROWSER, WEB, web_url
from demo.proxy import Proxy
from registry_proxy.port import free_port
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import wait_until

EXPORTS = ("curl", "httpie", "raw", "raw_request", "raw_response")
CUTS = (
    *("request.headers", "request.header[authorization]", "request.headers.fields"),
    *("request.path", "request.raw_content", "request.content", "request.trailers"),
    *("response.raw_content", "response.content", "response.text"),
    *("response.data.content", "error.msg", "metadata", "comment"),
)
_PROOF = "x"
"""What a page shows that it is mitmweb's by: the same in a header and in a cookie."""


class Mitmweb:
    """The interface of a running mitmweb."""

    def __init__(self, proxy: Proxy, session: requests.Session, folder: Path) -> None:
        wait_until(lambda: WEB.search(proxy.log) is not None, "mitmweb's page")
        parts = urlsplit(web_url(proxy))
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._session = session
        self._folder = folder
        (token,) = parse_qs(parts.query)["token"]
        session.headers.update(
            {"Authorization": f"Bearer {token}", "X-XSRFToken": _PROOF}
        )
        session.cookies.set("_mitmproxy_xsrf", _PROOF)

    def flows(self) -> list[dict[str, Any]]:
        """Return the flows as the page has them."""
        flows: list[dict[str, Any]] = self._get("/flows").json()
        return flows

    def find(self, comment: str) -> str:
        """Wait for a flow with that in its comment, and return its id."""
        return self._wait(lambda flow: comment in flow["comment"])[0]

    def intercepted(self) -> list[str]:
        """Wait for a flow that is held up, and return the ids of all that are."""
        return self._wait(lambda flow: flow["intercepted"])

    def _wait(self, is_wanted: Callable[[dict[str, Any]], bool]) -> list[str]:
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [flow["id"] for flow in self.flows() if is_wanted(flow)]
            return bool(found)

        wait_until(is_there, "a flow that is waited for")
        return found

    def act(self, path: str, method: str = "POST", **content: Any) -> None:
        """Do what a button of the page does."""
        answer = self._session.request(
            method, self._url + path, timeout=TIMEOUT, **content
        )
        answer.raise_for_status()

    def set(self, **options: object) -> None:
        """Change options of mitmproxy."""
        self.act("/options", "PUT", json=options)

    def option(self, name: str) -> Any:
        """Return the value of an option."""
        return self._get("/options").json()[name]["value"]

    def command(self, name: str, *arguments: str) -> Any:
        """Return what a command of mitmproxy returns."""
        answer = self._session.post(
            f"{self._url}/commands/{name}",
            json={"arguments": arguments},
            timeout=TIMEOUT,
        )
        return answer.json().get("value")

    def clear(self) -> None:
        """Forget all flows and events."""
        self.act("/clear")

    def everything(self) -> dict[str, str]:
        """Return all that can be had of the flows, by the way in which it is had."""
        had = {path: self._get(path).text for path in ("/flows", "/events", "/options")}
        opened = ",".join(map(str, range(1, 21)))
        changes = f"/pulls/changes?open={opened}&again={opened}"
        had |= {path: self._get(path).text for path in ("/pulls.json", changes)}
        # Before the first pull there is no report.
        had["/pulls.html"] = self._session.get(
            f"{self._url}/pulls.html", timeout=TIMEOUT
        ).text
        had["/flows/dump"] = self._get("/flows/dump").content.decode("latin-1")
        flows = self.flows()
        for flow in flows:
            for message in ("request", "response"):
                # mitmweb has an error for a body that was streamed past it.
                if (flow.get(message) or {}).get("contentLength") is not None:
                    for last in ("content.data", "content/auto.json"):
                        page = f"/flows/{flow['id']}/{message}/{last}"
                        had[page] = self._get(page).text
        for name, arguments in self._writing(len(flows)):
            path = self._folder / "written"
            path.unlink(missing_ok=True)
            if name == "export.file":
                self.command("view.focus.go", arguments[-1])
            self.command(name, *arguments[:2], str(path))
            if path.exists():
                written = path.read_bytes().decode("latin-1")
                had[" ".join((name, *arguments))] = written
        return had

    def _writing(self, count: int) -> Iterator[tuple[str, Sequence[str]]]:
        """Return the commands that write a file, but for its name."""
        yield "save.file", ("@all",)
        yield "save.har", ("@all",)
        for spec in CUTS:
            yield "cut.save", ("@all", spec)
        for number in range(count):
            for form in EXPORTS:
                yield "export.file", (form, "@focus", str(number))

    def _get(self, path: str) -> requests.Response:
        answer = self._session.get(self._url + path, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer


@contextmanager
def mitmweb(
    registry_url: str,
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Proxy, Mitmweb]]:
    """Run the proxy with mitmweb; yield both."""
    with (
        Proxy(
            registry_url,
            arguments=(*BROWSER, *arguments),
            environment={"WEB_PORT": str(free_port()), **(environment or {})},
            program="mitmweb",
        ) as proxy,
        plain_session() as session,
    ):
        yield proxy, Mitmweb(proxy, session, folder)
