"""A text that is the same in each run, and says each thing once."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

from localcloud import LocalCloud
from localcloud.image import Blob, Manifest

LENGTH_MAX = 700
_TOKEN = re.compile(r"(eyJ[\w-]+)\.(eyJ[\w-]+)(\.\[redacted\]|\.[\w-]*)?(~[\w-]*)?")
_SHA256 = re.compile(r"(?P<start>sha256[:-])?(?P<hex>[0-9a-f]{12,64})(?P<end>\b)")
_PATTERNS = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "<time>"),
        (r"(?m)^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "<time>"),
        (r"\b\d\d:\d\d:\d\d(\.\d+)?", "<time>"),
        (r"\b\d+(\.\d+)? ms\b|\b\d+\.\d+ s\b", "<time>"),
        (r"\b[\d,.]+ (bytes|[kM]B)\b", "<size>"),
        (r'"(duration|bytes|time|first_byte)": [\d.]+', r'"\1": <number>'),
        (r"\b(Expires|Signature)=\w+", r"\1=<\1>"),
        (r"127\.0\.0\.1:\d{4,5}", "<client>"),
        (r'\bW/(\\?")[\w/+-]+\\?"', r"W/\1<etag>\1"),
        (r"\('127\.0\.0\.1', \d+\)", "('127.0.0.1', <port>)"),
        (r"\[[0-9a-f]{8}\]", "[<id>]"),
        (r"\bbalena-registry-proxy-[0-9a-f]{16}\b", "balena-registry-proxy-<process>"),
        (r'"session": "[0-9a-f]{16}"', '"session": "<session>"'),
        (r"(?m)^( +session +)[0-9a-f]{16}$", r"\1<session>"),
    )
)

USUAL = ("X-Request-Id: <id>", "Docker-Distribution-Api-Version: registry/2.0")
"""What answers of this proxy have, so that only its absence is told."""
_VALUE = re.compile(r"[^\s'\"(),;:|]*[/\d][^\s'\"(),;|]*")
_STATUS = re.compile(r"\d{3}[:.]?")


def pattern(text: str) -> str:
    """Return the text without names and numbers, except for statuses."""
    bare = _VALUE.sub(lambda m: m[0] if _STATUS.fullmatch(m[0]) else "*", text)
    return re.sub(r"\*([,;]? \*)+", "*", bare)


def each_kind[T](items: Iterable[T], kind: Callable[[T], object]) -> list[T]:
    """Return the first of each kind, in their order."""
    first: dict[object, T] = {}
    for each in items:
        first.setdefault(kind(each), each)
    return list(first.values())


class Plain:
    """Knows the names of what a run has, and writes them in place of its values."""

    def __init__(self, cloud: LocalCloud, places: Mapping[str, str]) -> None:
        self._places = {**places}
        self._hashes: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        for image in cloud.images:
            start = image.repository.removeprefix("v2/")[:4]
            self._places[image.repository] = f"v2/<{start}>"
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
            return self.text(body.decode())[:LENGTH_MAX]
        except UnicodeDecodeError:
            return f"{len(body)} bytes"

    def headers(self, pairs: Sequence[tuple[str, str]], body: bytes) -> list[str]:
        """Return the headers of a message that do not follow from its body."""
        everything = str(pairs)
        lines = [self._header(*pair, everything, body) for pair in pairs]
        return [line for line in lines if line]

    def answer(self, pairs: Sequence[tuple[str, str]], body: bytes) -> list[str]:
        """Return the headers that not every answer has, and which are missing."""
        lines = self.headers(pairs, body)
        missing = [line.partition(":")[0] for line in USUAL if line not in lines]
        if missing:
            lines.append(f"without {' and '.join(missing)}")
        return [line for line in lines if line not in USUAL]

    def _header(self, name: str, value: str, everything: str, body: bytes) -> str:
        """Return a header; a length stands for itself only where nothing else has it.

        ``everything`` says what an answer to HEAD is about.
        """
        is_length = name.lower() == "content-length"
        if is_length and (value == str(len(body)) != "0" or b'"token"' in body):
            return ""
        if is_length or name.lower() == "content-range":
            for digest, size in self._sizes.items():
                if digest in everything and str(size) in value:
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
    access = "; ".join(map(_access, claims["access"]))
    return [
        f"aud {claims['aud']}, iss {claims['iss']}, sub {claims['sub'] or 'nobody'}",
        f"access: {access or 'none'}",
        f"suffix: {_decoded(suffix) or 'none'}",
    ]


def _access(entry: Mapping[str, object]) -> str:
    match entry:
        case {"name": name, "type": "repository", "actions": [action], **more}:
            if not more:
                return f"{action} {name}"
    return json.dumps(entry)


def _decoded(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def _token_in_short(match: re.Match[str]) -> str:
    signature, suffix = match[3] or "", match[4] or ""
    if signature and "redacted" not in signature:
        signature = ".<signature>"
    return f"<jwt>{signature}{'~<suffix>' if suffix else ''}"
