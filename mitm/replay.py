"""Decides how a request is asked again that somebody replays in mitmproxy."""

from mitmproxy import http

from mitm.redaction import REDACTED
from mitm.story.fact import Fact, clear, read


def prepare(flow: http.HTTPFlow) -> None:
    """Make a replayed request what the client once sent, as far as that is known.

    The flow has the registry's path by now, and a login that proves nothing; what it
    says of itself is about the first time.
    """
    if flow.is_replay != "request":
        return
    path = read(flow).get(Fact.PATH)
    if isinstance(path, str) and path.startswith("/v2/"):
        flow.request.path = path
    clear(flow)
    flow.comment = flow.marked = ""
    if REDACTED in flow.request.headers.get("authorization", ""):
        del flow.request.headers["authorization"]
