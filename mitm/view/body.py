"""The message that a view is asked about, and what all views have in common.

mitmproxy asks every view about every message that is looked at, so whether it is for
it is seen by the record, headers and the first bytes; nothing is parsed for that.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from mitmproxy import contentviews, http

from mitm.story.record import Record
from resolver.grammar.payload import parse_payload

FITS = 10.0
"""The priority of a view that is for a message; mitmproxy's own have 2 at most."""
UNFIT = -1.0
_HEAD_LENGTH = 64
"""Bytes; white space before an object is shorter."""


@dataclass(frozen=True, slots=True)
class Body:
    """A message's body, and what is known around it.

    Where a view was chosen by hand, all around it may be missing.
    """

    data: bytes
    media_type: str
    """Empty where there is none."""
    flow: http.HTTPFlow | None
    message: http.Message | None
    record: Record | None

    @property
    def response(self) -> http.Response | None:
        """The response, where this is one."""
        return self.message if isinstance(self.message, http.Response) else None

    @property
    def status(self) -> int:
        """The response's status, or 0 where this is none."""
        return self.response.status_code if self.response else 0

    @property
    def kind(self) -> str:
        """What the client, or the proxy for it, asked for."""
        return self.record.kind if self.record else ""

    @property
    def is_object(self) -> bool:
        """Whether it begins like a JSON object."""
        return self.data[:_HEAD_LENGTH].lstrip().startswith(b"{")

    def header(self, name: str) -> str:
        """Return a header's value, or nothing."""
        return self.message.headers.get(name, "") if self.message else ""

    def read_object(self) -> dict[str, Any]:
        """Return the JSON object in it.

        Raises:
            ValueError: it is none.

        """
        value = parse_payload(self.data)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - mitmproxy's contract
        return value


class View(contentviews.Contentview):
    """A view of this proxy's flows: `fits` says of which, `describe` has the lines."""

    @abstractmethod
    def fits(self, body: Body) -> bool:
        """Return whether to show this view unasked; of a flow of this proxy's."""

    @abstractmethod
    def describe(self, body: Body) -> list[str]:
        """Return the lines.

        Raises:
            ValueError: it is nothing that this view can show.

        """

    def render_priority(self, data: bytes, metadata: contentviews.Metadata) -> float:
        """Return whether mitmproxy should take this view where nobody chose one."""
        body = _read(data, metadata)
        return FITS if body.kind and self.fits(body) else UNFIT

    def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
        """Return the text, or raise ValueError: then mitmproxy shows the body as is."""
        try:
            lines = self.describe(_read(data, metadata))
        except RecursionError as error:
            raise ValueError("the body is nested too deeply") from error
        # To mitmweb a line with nothing in it has no height.
        return "\n".join(line or " " for line in lines)


def _read(data: bytes, metadata: contentviews.Metadata) -> Body:
    flow = metadata.flow if isinstance(metadata.flow, http.HTTPFlow) else None
    record = Record.read(flow) if flow else None
    message = metadata.http_message
    return Body(data, metadata.content_type or "", flow, message, record)
