"""Decides what an answer says, and whether its content is what was promised."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import requests

NO_CODE = "without a code"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes


type Check = Callable[[Reply], str]
"""What says what is wrong with an answer of the right status, or nothing."""


def said(reply: Reply, method: str) -> str:
    """Return the status, and the code of an error that has a body."""
    if reply.status < requests.codes.bad_request or method == "HEAD":
        return str(reply.status)
    return f"{reply.status} {error_code(reply.content)}"


def error_code(body: bytes) -> str:
    """Return the code in an OCI error body."""
    try:
        return str(json.loads(body)["errors"][0]["code"])
    except (ValueError, LookupError, TypeError):
        return NO_CODE


def wrong_digest(content: bytes, digest: str) -> str:
    """Return what is wrong with content that should have the digest."""
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return "" if found == digest else f"wrong digest {found}"
