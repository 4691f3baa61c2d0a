"""Where the page of pulls is: in mitmweb, at an address of its own, or nowhere."""

import logging
import secrets
from collections.abc import Callable

from mitmproxy import ctx, exceptions, log
from mitmproxy.tools.web import webaddons

from live import server
from live.board import Board
from live.state import PATH

logger = logging.getLogger("balena")
SHOWN = "pulls are shown at %s"


class Site:
    """Shows the page where somebody wants it."""

    def __init__(self) -> None:
        self.board = Board()
        self._address: tuple[str, int] | None = None
        self._token = ""
        self._chosen: str | None = None
        self._end: Callable[[], None] | None = None
        self._is_said = False

    def show(self, address: tuple[str, int] | None, token: str | None) -> None:
        """Show the page at the address, or no longer; and always in mitmweb.

        Raises:
            OptionsError: nobody can listen there.

        """
        if application := getattr(ctx.master, "app", None):
            server.attach(application, self.board)
        if (address, token) == (self._address, self._chosen):
            return
        self.close()
        if address:
            self._serve(address, token)
        self._address, self._chosen = address, token
        if self._is_said:
            self.say()

    def say(self) -> None:
        """Say where the page is."""
        self._is_said = True
        if self._web_url:
            # The log on mitmweb's page leaves alerts out.
            logger.info(SHOWN, self._web_url)
        if url := self._own_url:
            # A token that the operator chose is known, and not for the log.
            query = "" if self._chosen else f"?token={self._token}"
            logger.log(log.ALERT, SHOWN, url + query)

    def open_browser(self) -> None:
        """Open the page where mitmweb, which is asked later, would open its flows."""
        if self._web_url and ctx.options.web_open_browser:
            ctx.options.web_open_browser = False
            webaddons.open_browser(self._web_url)

    @property
    def url(self) -> str:
        """The address of the page without a token; nothing where it is nowhere."""
        return self._web_url.partition("?")[0] or self._own_url

    @property
    def _web_url(self) -> str:
        """The address of the page in mitmweb, with the token; nothing elsewhere."""
        place, mark, query = getattr(ctx.master, "web_url", "").partition("?")
        return place and f"{place.rstrip('/')}{PATH}{mark}{query}"

    @property
    def _own_url(self) -> str:
        """The address of the page by itself; nothing where there is none."""
        if not self._address:
            return ""
        host, port = self._address
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}{PATH}"

    def close(self) -> None:
        """Show the page no longer at an address of its own."""
        if self._end:
            self._end()
        self._end = self._address = self._chosen = None

    def _serve(self, address: tuple[str, int], token: str | None) -> None:
        self._token = token or secrets.token_hex(16)
        try:
            self._end = server.serve(self.board, address, self._token)
        except OSError as error:
            raise exceptions.OptionsError(
                f"balena_pulls_listen (PULLS_PORT): {address[0]} port {address[1]}"
                f" cannot be listened at, {error.strerror}; choose another port"
            ) from error
