"""The view of an OCI error: who says so, what it means, and what comes of it.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes and
https://pkg.go.dev/github.com/distribution/distribution/v3/registry/api/errcode
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

from mitm.story.explain import explain
from mitm.story.kind import API_KINDS, Kind
from mitm.view.body import Body, View
from mitm.view.line import fields, first, paragraph, rest, section, shown
from resolver.errors import ErrorCode, error_body
from resolver.grammar.challenge import parse_challenge

_HEAD_LENGTH = 4096
_ERRORS = re.compile(rb'"errors"\s*:\s*\[')
_REGISTRY_WORDS: Mapping[str, str] = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_INVALID": "blob upload invalid",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "DENIED": "requested access to the resource is denied",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "MANIFEST_BLOB_UNKNOWN": "manifest references something unknown to registry",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_UNKNOWN": "manifest unknown to registry",
    "MANIFEST_UNVERIFIED": "manifest failed signature verification",
    "NAME_INVALID": "invalid repository name",
    "NAME_UNKNOWN": "repository name not known to registry",
    "PAGINATION_NUMBER_INVALID": "invalid number of results requested",
    "RANGE_INVALID": "invalid content range",
    "SIZE_INVALID": "provided length did not match content length",
    "TAG_INVALID": "manifest tag did not match URI",
    "TOOMANYREQUESTS": "too many requests",
    "UNAUTHORIZED": "authentication required",
    "UNAVAILABLE": "service unavailable",
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "the operation is unsupported",
}
"""Of the specification, and of docker-registry."""
_PROXY_WORDS: Mapping[ErrorCode, str] = {
    ErrorCode.BLOB_UNKNOWN: "no release that tags find has an image to look into",
    ErrorCode.MANIFEST_UNKNOWN: "the application is there; no tag finds such a release",
    ErrorCode.DENIED: "the application is private or absent, which read the same",
    ErrorCode.NAME_INVALID: "a path, name, tag or digest breaks the grammar",
    ErrorCode.NAME_UNKNOWN: "the application is there; such a release or image is not",
    ErrorCode.TOOMANYREQUESTS: "the rate is limited by who issues tokens",
    ErrorCode.UNAUTHORIZED: "no token for it, or a login that is not known",
    ErrorCode.UNAVAILABLE: "who is needed for it is down, slow or senseless",
    ErrorCode.UNKNOWN: "what this proxy could not make sense of; its log says more",
    ErrorCode.UNSUPPORTED: "nothing is served there, or not by this method",
}
"""What each code stands for where the proxy itself answers."""


class ErrorView(View):
    """An answer that is an error, of the registry or of the proxy."""

    name = "registry error"

    def fits(self, body: Body) -> bool:
        """Return whether it has the form that the specification gives errors."""
        return (
            body.status >= HTTPStatus.BAD_REQUEST
            and body.is_object
            and bool(_ERRORS.search(body.data, 0, _HEAD_LENGTH))
        )

    def describe(self, body: Body) -> list[str]:
        """Return each error, and what happened."""
        errors = body.read_object().get("errors")
        if not isinstance(errors, list):
            raise ValueError("not an OCI error")  # noqa: TRY004 - see View
        lines = [_status(body), *fields(_headers(body))]
        for error in first(errors):
            lines += _error(error, body)
        return [*lines, *rest(errors), *section("what happened", _story(body))]


def _story(body: Body) -> list[str]:
    """Return the flow's story, but for the sentence that repeats the message."""
    if body.flow is None or body.record is None:
        return []
    message = f": {body.record.message or ''}."
    return [
        line
        for sentence in explain(body.flow)
        if not sentence.endswith(message)
        for line in paragraph(shown(sentence), "  ")
    ]


def _status(body: Body) -> str:
    try:
        phrase = HTTPStatus(body.status).phrase
    except ValueError:
        phrase = ""
    return f"{body.status} {phrase}".rstrip() if body.status else "error"


def _headers(body: Body) -> list[tuple[str, str]]:
    """Return what the answer asks of the client."""
    found = []
    if wait := body.header("Retry-After"):
        found.append(("wait", shown(wait) + " s" * wait.isdecimal()))
    if challenge := parse_challenge(body.header("WWW-Authenticate")):
        wanted = f"a token for {challenge.scope}" if challenge.scope else "a token"
        found.append(("wants", shown(f"{wanted}, from {challenge.realm}")))
        if challenge.error:
            found.append(("because", shown(challenge.error)))
    return found


def _error(error: object, body: Body) -> list[str]:
    if not isinstance(error, dict):
        return ["", shown(error)]
    code, detail = error.get("code"), error.get("detail")
    words = _REGISTRY_WORDS.get(code, "") if isinstance(code, str) else ""
    facts = [("message", shown(error.get("message")))]
    if detail not in (None, "", [], {}):
        facts.append(("detail", shown(detail)))
    if source := _source(code, error.get("message"), body):
        facts.append(("from", source))
    return ["", ": ".join(filter(None, (shown(code), words))), *fields(facts)]


def _source(code: object, message: object, body: Body) -> str:
    """Return who says so, as far as that is known, and what it means then."""
    if isinstance(code, str) and code in ErrorCode:
        proxy_code = ErrorCode(code)
        # The proxy writes its errors in one way, to the byte; registries in others.
        if body.data == error_body(proxy_code, str(message)):
            return f"this proxy: {_PROXY_WORDS[proxy_code]}"
    if body.kind in API_KINDS:
        return "the API"
    if body.kind is Kind.TOKEN:
        return "who issues tokens"
    return "the registry" if body.kind else ""
