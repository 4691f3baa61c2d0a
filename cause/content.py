"""Releases, manifests and blobs: absent, refused, damaged, or of another type."""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from cause.evidence import Evidence
from cause.finding import Cause, Finding, Role, shown
from resolver.errors import ErrorCode
from resolver.grammar.reference import brief_location
from resolver.release import unfit

LIST_RELEASES = "registry-proxy resolve --all <org>/<app> lists it"
CHECK_NAME = "check the name, and the tag or digest"
PUSH_TYPE = "push it anew as an OCI image or as docker's schema 2"
ADVICE: Mapping[str | int, tuple[Cause, str]] = {
    ErrorCode.NAME_INVALID: (
        Cause.NAME,
        "write it as that says; at the proxy it is <org>/<app>/<version>",
    ),
    ErrorCode.NAME_UNKNOWN: (
        Cause.RELEASE,
        f"choose what is there; {LIST_RELEASES}",
    ),
    ErrorCode.BLOB_UNKNOWN: (
        Cause.STORAGE,
        "push the image anew: its manifest is there, and this part is not",
    ),
    HTTPStatus.NOT_FOUND: (Cause.MANIFEST, CHECK_NAME),
    HTTPStatus.NOT_ACCEPTABLE: (Cause.MANIFEST, PUSH_TYPE),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (Cause.MANIFEST, PUSH_TYPE),
}
"""What to do, by the code of an error, or else by its status."""
_TYPES = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
}
_UNACCEPTED = re.compile(rb"OCI (manifest|index) found, but accept header does not")
"""What docker-registry says to a client that knows docker's own types alone."""
_NOT_ACCEPTED = frozenset(
    {HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
)
_UNFIT: Sequence[tuple[str, str]] = (
    (
        f" {unfit.UNBUILT} running",
        "wait for the end of the build, and pull again",
    ),
    (
        f" {unfit.UNBUILT} ",
        "read the log of that build, and build it anew with balena push",
    ),
    (
        f" {unfit.DRAFT},",
        "pull it by its whole version, or make it final: balena release finalize",
    ),
    (
        f" {unfit.INVALIDATED},",
        "choose another release, or let it count again: balena release validate",
    ),
    (f" {unfit.UNTESTED},", "choose another release, or mend its tests"),
    (f" {unfit.IMAGELESS};", "build it anew with balena push"),
    (" has several images: ", "add the service to the name, as that says"),
    (
        " is stored in another registry than",
        "set REGISTRY_URL to the registry that the log names one line above",
    ),
)
"""What to do about a release, by what the refusal says of it."""
_REFUSALS = (
    ErrorCode.NAME_UNKNOWN,
    ErrorCode.NAME_INVALID,
    ErrorCode.MANIFEST_UNKNOWN,
)


def _refusal(seen: Evidence) -> Finding | None:
    """Tell what to do about what the client was told in the proxy's own words."""
    if seen.role is not None or seen.code not in _REFUSALS or not seen.message:
        return None
    code = seen.code
    if code == ErrorCode.MANIFEST_UNKNOWN:
        code = ErrorCode.NAME_UNKNOWN  # A tag is told like a path (rule R9).
    cause, advice = ADVICE[code]
    if seen.has_own_names:
        advice = CHECK_NAME
    elif code == ErrorCode.NAME_UNKNOWN:
        advice = next((step for part, step in _UNFIT if part in seen.message), advice)
    return Finding(cause, seen.message, advice)


def _unaccepted_type(seen: Evidence) -> Finding | None:
    """Tell that there is a manifest, of a type that the client does not ask for."""
    if seen.role is not Role.REGISTRY or seen.kind != "manifest":
        return None
    found = _UNACCEPTED.search(seen.body)
    if not (seen.status == HTTPStatus.NOT_FOUND and found):
        if seen.status not in _NOT_ACCEPTED:
            return None
        found = None
    what = f"an OCI {found[1].decode()}" if found else "a manifest of another type"
    wanted = _TYPES[found[1].decode()] if found else "its type"
    return Finding(
        Cause.MANIFEST,
        f"the registry {seen.host} has {what} there; the client accepts"
        f" {shown(seen.request.get('accept', '')) or 'no type'} alone",
        f"use a client that accepts {wanted}, as those of today do; or push the image"
        " anew as docker's schema 2",
    )


def _no_manifest(seen: Evidence) -> Finding | None:
    """Tell that the registry does not have the image of a release."""
    if not _is_missing(seen, "manifest"):
        return None
    if ":" in seen.reference:
        return Finding(
            Cause.MANIFEST,
            f"the registry {seen.host} has no manifest {seen.reference} where the image"
            f" of {seen.name} is stored, at {brief_location(seen.location)}",
            "check the digest; if an index names it, push the release anew",
        )
    return Finding(
        Cause.MANIFEST,
        f"{seen.the_api} says that the image of {seen.name} is stored at"
        f" {brief_location(seen.location)}; the registry {seen.host} has none there",
        "push the release anew, and see whether the registry has lost others too",
    )


def _no_blob(seen: Evidence) -> Finding | None:
    """Tell that a part of an image is missing."""
    if not _is_missing(seen, "blob"):
        return None
    cause, advice = ADVICE[ErrorCode.BLOB_UNKNOWN]
    return Finding(
        cause,
        f"the registry {seen.host} has no blob {seen.reference} where the image of"
        f" {seen.name} is stored, at {brief_location(seen.location)}",
        advice,
    )


def _nothing_of_that_name(seen: Evidence) -> Finding | None:
    """Tell that a registry with names of its own has no such image, or not all of it.

    Of a blob with HEAD a client asks whether it has to push it.
    """
    is_absent = seen.role is Role.REGISTRY and seen.status == HTTPStatus.NOT_FOUND
    if not (is_absent and seen.has_own_names):
        return None
    if seen.kind == "manifest":
        return Finding(
            Cause.MANIFEST,
            f"the registry {seen.host} has no manifest {seen.reference} of {seen.name}",
            CHECK_NAME,
        )
    if seen.kind == "blob" and seen.method == "GET":
        cause, advice = ADVICE[ErrorCode.BLOB_UNKNOWN]
        what = f"no blob {seen.reference} of {seen.name}"
        return Finding(cause, f"the registry {seen.host} has {what}", advice)
    return None


def _is_missing(seen: Evidence, kind: str) -> bool:
    """Return whether the registry has not what a client wants to have.

    With HEAD a client asks whether it is there, and a type that it does not accept
    looks as if it were not.
    """
    return (
        seen.role is Role.REGISTRY
        and seen.kind == kind
        and seen.method == "GET"
        and seen.status == HTTPStatus.NOT_FOUND
        and brief_location(seen.location) is not None
        and not seen.has_own_names
    )


RULES: Sequence[Callable[[Evidence], Finding | None]] = (
    _refusal,
    _unaccepted_type,
    _no_manifest,
    _no_blob,
    _nothing_of_that_name,
)
"""In the order in which they are asked."""
