"""A request that somebody replays in mitmproxy, as the client asked it at first."""

from mitmproxy import http

from mitm.story.record import Record, clear
from resolver.grammar.secret import REDACTED
from resolver.storage.url import Url


def prepare(flow: http.HTTPFlow, registry_url: str) -> None:
    """Make a replayed request what the client once sent, as far as that is known.

    The flow has the registry's path by now, or the host of a storage, and a login that
    proves nothing; what it says of itself is about the first time.
    """
    if flow.is_replay != "request":
        return
    record = Record.read(flow)
    if record and record.path and record.path.startswith("/v2/"):
        flow.request.path = record.path
    url, request = Url.of(registry_url), flow.request
    request.scheme, request.host, request.port = url.scheme, url.host, url.port
    clear(flow)
    flow.comment = flow.marked = ""
    if REDACTED in flow.request.headers.get("authorization", ""):
        del flow.request.headers["authorization"]
