"""What a server says in an answer that is none of those hoped for."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from cause.finding import shown
from resolver.grammar.payload import parse_payload, read_error

BODY_LENGTH_MAX = 4096
"""Bytes of a body that are looked at."""
_XML = re.compile(r"<(?P<field>Code|Message)>(?P<text>[^<]*)</")
_PAGES = (b"<!doctype", b"<html")
_PROGRAMS = ("nginx", "openresty", "haproxy", "squid", "envoy", "apache", "caddy")
_ENCODING = "utf-8"


def status_line(status: int) -> str:
    """Return the status with its phrase, if it has one."""
    phrase = next((each.phrase for each in HTTPStatus if each == status), "")
    return f"{status} {phrase}".strip()


def is_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether it is a page for browsers."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "text/html" or body.lstrip()[:9].lower().startswith(_PAGES)


def program_of(headers: Mapping[str, str], body: bytes) -> str:
    """Return which well-known program made a page; nothing where it does not say."""
    text = headers.get("server", "").lower() or body[:BODY_LENGTH_MAX].decode(
        _ENCODING, "replace"
    )
    return next((name for name in _PROGRAMS if name in text.lower()), "")


def xml_fields(body: bytes) -> dict[str, str]:
    """Return code and message of an error as a storage words it."""
    text = body[:BODY_LENGTH_MAX].decode(_ENCODING, "replace")
    return {match["field"]: match["text"] for match in _XML.finditer(text)}


def said(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return status and words of an answer."""
    if error := read_error(body):
        return f"{status} {shown(error[0])}: {shown(error[1])}"
    line = status_line(status)
    if is_page(headers, body):
        return f"{line}, with an HTML page"
    if fields := xml_fields(body):
        return f"{line}: {shown(': '.join(fields.values()))}"
    text = body[:BODY_LENGTH_MAX].decode(_ENCODING, "replace")
    try:
        payload = parse_payload(body)
    except ValueError:
        return f"{line}: {shown(text)}" if text.strip() else line
    for name in ("details", "message", "error_description", "error"):
        if isinstance(payload, dict) and isinstance(payload.get(name), str):
            return f"{line}: {shown(payload[name])}"
    return line
