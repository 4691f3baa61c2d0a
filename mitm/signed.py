"""Decides how a signed URL is used without being shown (rule R15).

The URL to which a registry redirects has a signature in its query: whoever reads it in
a log or a saved flow can get the blob, as long as it is good.
"""

import re
import sys
from dataclasses import replace
from typing import Self

from mitmproxy import ctx, http
from mitmproxy.net.http.http1 import assemble
from mitmproxy.proxy.layers.http import _http1

from mitm.redaction import REDACTED

SENDER, ASSEMBLER = _http1.__name__, assemble.__name__
"""The modules of mitmproxy that send a request, and that put together what is sent."""
_QUERY = re.compile(r"[?;#].*", re.DOTALL)


def without_signature(url: str) -> str:
    """Return the URL, or a path, as it is shown: without what follows the path."""
    if ctx.options.balena_show_secrets:
        return url
    return _QUERY.sub(f"?{REDACTED}", url)


class SignedRequest(http.Request):
    """Sends its whole path, and shows it without the query to everybody else.

    mitmproxy's own layer has the request's head put together from `data`, and so does
    much else: only that layer gets the whole path. If another version sends it from
    elsewhere, the storage refuses the request, and every test of it fails.
    """

    _shown: http.RequestData
    _sent: bytes | None = None

    @classmethod
    def of(cls, request: http.Request, path: str) -> Self:
        """Return the request for another path."""
        made = cls(**vars(request.data))
        made.path = without_signature(path)
        made._sent = path.encode("ascii")
        return made

    def forget(self) -> None:
        """Send what is shown, should anybody send it again."""
        self._sent = None

    def copy(self) -> Self:
        """Return another one; only the layer that sends it can use it."""
        made = super().copy()
        if sys._getframe(1).f_globals.get("__name__") == SENDER:  # noqa: SLF001
            made._sent = self._sent  # noqa: SLF001 - of the same class
        return made

    @property  # type: ignore[override]
    def data(self) -> http.RequestData:
        """The request: whole for whoever sends it, and as it is shown for others."""
        reader = sys._getframe(1)  # noqa: SLF001
        asker = reader.f_back
        is_sent = (
            reader.f_globals.get("__name__") == ASSEMBLER
            and asker is not None
            and asker.f_globals.get("__name__") == SENDER
        )
        if self._sent and is_sent:
            return replace(self._shown, path=self._sent)
        return self._shown

    @data.setter
    def data(self, data: http.RequestData) -> None:
        self._shown = data
