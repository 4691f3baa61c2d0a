"""How stored bytes are served: whole, in part, or not again.

Several ranges at once are answered with the whole, which RFC 9110 allows;
docker-registry sends them as a multipart body.
"""

import re

from localcloud.server import Request, Response

_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)", re.ASCII)


def serve_content(
    request: Request, content: bytes, headers: tuple[tuple[str, str], ...]
) -> Response:
    """Answer a GET or HEAD for content that never changes."""
    etag = next((v for k, v in headers if k.lower() == "etag"), None)
    if etag is not None and etag in (request.header("If-None-Match") or ""):
        return Response(304, headers)
    headers = (*headers, ("Accept-Ranges", "bytes"))
    match = _RANGE.fullmatch(request.header("Range") or "")
    if match is None or match["first"] == match["last"] == "":
        return Response(200, headers, content)
    size = len(content)
    if match["first"]:
        first = int(match["first"])
        last = min(int(match["last"]), size - 1) if match["last"] else size - 1
    else:
        first, last = max(size - int(match["last"]), 0), size - 1
    if first > last or first >= size:
        # docker-registry also declares the blob's length here, wrongly.
        return Response(416, (("Content-Range", f"bytes */{size}"),))
    part = ("Content-Range", f"bytes {first}-{last}/{size}")
    return Response(206, (*headers, part), content[first : last + 1])
