"""Answers with stored bytes: all of them, or a part.

Ranges that no client sends, several at once or counted from the end, are answered
with the whole, which RFC 9110 allows.
"""

import re

from localcloud.server import Header, Request, Response

_RANGE = re.compile(r"bytes=(?P<first>\d+)-(?P<last>\d*)", re.ASCII)


def serve_content(
    request: Request, content: bytes, headers: tuple[Header, ...]
) -> Response:
    """Answer a GET or HEAD for content that never changes."""
    headers = (*headers, ("Accept-Ranges", "bytes"))
    match = _RANGE.fullmatch(request.header("Range") or "")
    if match is None:
        return Response(200, headers, content)
    size = len(content)
    first, last = int(match["first"]), int(match["last"] or size)
    if first > last or first >= size:
        # docker-registry also declares the blob's length here, wrongly.
        return Response(416, (("Content-Range", f"bytes */{size}"),))
    part = content[first : last + 1]
    content_range = f"bytes {first}-{first + len(part) - 1}/{size}"
    return Response(206, (*headers, ("Content-Range", content_range)), part)
