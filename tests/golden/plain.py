"""What differs from one run to the next, made the same in each."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from localcloud import LocalCloud
from localcloud.image import Blob, Manifest

_TOKEN = re.compile(r"(eyJ[\w-]+)\.(eyJ[\w-]+)(\.\[redacted\]|\.[\w-]*)?(~[\w-]*)?")
_SHA256 = re.compile(r"(?P<start>sha256[:-])?(?P<hex>[0-9a-f]{12,64})(?P<end>\b)")
_PATTERNS = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "<time>"),
        (r"(?m)^\[\d\d:\d\d:\d\d\.\d+\]", "[<time>]"),
        (r"\b\d\d:\d\d:\d\d(\.\d+)?", "<time>"),
        (r"\b\d+(\.\d+)? ms\b|\b\d+\.\d+ s\b", "<time>"),
        (r"\b[\d,.]+ (bytes|[kM]B)\b", "<size>"),
        (r'"(duration|bytes|time|first_byte)": [\d.]+', r'"\1": <number>'),
        (r"\b(Expires|Signature)=\w+", r"\1=<\1>"),
        (r"127\.0\.0\.1:\d{4,5}", "<client>"),
        (r'\bW/(\\?")[\w/+-]+\\?"', r"W/\1<etag>\1"),
        (r"\('127\.0\.0\.1', \d+\)", "('127.0.0.1', <port>)"),
        (r"\[[0-9a-f]{8}\]", "[<id>]"),
    )
)


class Plain:
    """Knows the names of what a run has, and writes them in place of its values."""

    def __init__(self, cloud: LocalCloud, places: Mapping[str, str]) -> None:
        self._places = places
        self._hashes: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        for image in cloud.images:
            start = image.repository.removeprefix("v2/")[:4]
            contents: list[tuple[Blob | Manifest, str]] = [
                (each, "manifest") for each in image.manifests
            ]
            contents += [(each, "blob") for each in image.blobs]
            for number, (each, kind) in enumerate(contents):
                value = each.digest.partition(":")[2]
                self._hashes.setdefault(value, f"<{start} {kind} {number}>")
                self._sizes[value] = len(each.content)

    def text(self, text: str) -> str:
        """Return the text with names in place of values."""
        for place, name in self._places.items():
            text = text.replace(place, name).replace(quote(place, safe=""), name)
        text = _TOKEN.sub(_token_in_short, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return _SHA256.sub(self._hash, text)

    def body(self, body: bytes) -> str:
        """Return a body as it stands in a transcript."""
        if name := self._hashes.get(hashlib.sha256(body).hexdigest()):
            return f"the content of {name}"
        try:
            return self.text(body.decode())
        except UnicodeDecodeError:
            return f"{len(body)} bytes"

    def header(self, name: str, value: str, headers: str, body: bytes) -> str:
        """Return a header; a length stands for itself only where nothing else has it.

        ``headers`` are all of them, which say what a HEAD is about.
        """
        is_length = name.lower() == "content-length"
        if is_length and (value == str(len(body)) != "0" or b'"token"' in body):
            value = "<that of the body>"
        elif is_length or name.lower() == "content-range":
            for known, size in self._sizes.items():
                if known in headers and str(size) in value:
                    value = value.replace(str(size), "<that of the content>")
                    break
        return f"{name}: {self.text(value)}"

    def _hash(self, match: re.Match[str]) -> str:
        value = match["hex"]
        if name := self._hashes.get(value):
            return f"{match['start'] or ''}{name}"
        if match["start"]:
            for known, name in self._hashes.items():
                if known.startswith(value):
                    return f"{match['start']}{name[:-1]}, short>"
        return match[0]


def token_lines(token: str) -> Sequence[str]:
    """Return what a token says: the claims that stay the same, and the suffix."""
    jwt, _, suffix = token.partition("~")
    claims = json.loads(_decoded(jwt.split(".")[1]))
    lines = [f"{name}: {claims[name]}" for name in ("aud", "iss", "sub")]
    lines += [f"access: {json.dumps(each)}" for each in claims["access"]]
    return [*lines, f"suffix: {_decoded(suffix) or 'none'}"]


def _decoded(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def _token_in_short(match: re.Match[str]) -> str:
    signature, suffix = match[3] or "", match[4] or ""
    if signature and "redacted" not in signature:
        signature = ".<signature>"
    return f"<head>.<claims>{signature}{'~<suffix>' if suffix else ''}"
