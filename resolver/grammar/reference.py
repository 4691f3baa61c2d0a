"""References: what names a release, and the names, tags and digests in it.

The grammar (design section 3), within that of the OCI specification
(https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)
and of https://pkg.go.dev/github.com/distribution/reference::

    reference = [ scheme "://" ] [ host "/" ] alias [ ":" tag ] [ "@" digest ]
    scheme    = "docker" | "oci" | "http" | "https"
    host      = whatever has "." or ":" in it, or "localhost"
    alias     = slug [ "/" selector [ "/" image-service ] ]
    slug      = org "/" app            ; components without "."
    location  = "v2/" 32 hex [ "-" digits ]
    platform  = "resin/" component     ; host OS and supervisor repositories
    component = [a-z0-9]+ ( ("." | "_" | "__" | "-"+) [a-z0-9]+ )*
    tag       = [A-Za-z0-9_] [A-Za-z0-9._-]{0,127}
    digest    = algorithm ":" encoded  ; in full length, of those that are registered
    artifact  = algorithm "-" 64 hex [ "." ending ]

A reference with scheme and host is what people paste at a prompt; which registry the
host is does not matter there. On the wire, names, tags and digests come apart.

An artifact's tag is that of referrers, where a registry has no list of them, or one of
cosign's. The specification cuts what is encoded after 64 characters, so a tag need not
say the whole digest.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema

What a selector says is read in `grammar.selector`. A version's `+` is in none of
these. `_` stands for it: who sends `+` is told so; at a prompt it is replaced.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

from resolver.errors import AliasInvalid, NameInvalid
from resolver.grammar.selector import KEYWORDS

RepositoryName = NewType("RepositoryName", str)
"""Components joined by "/", by the grammar of the OCI specification."""
Location = NewType("Location", str)
"""The repository where an image is stored, `v2/<hash>`, without the host."""
Slug = NewType("Slug", str)
"""`<org>/<app>`."""
Tag = NewType("Tag", str)
Digest = NewType("Digest", str)

LOCATION_LENGTH = len("v2/") + 4
"""How much of a location is shown: enough to tell two apart, too little to use it."""
NAME_LENGTH_MAX = 255
"""Characters; what clients allow for host and name together."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_SLUG_COMPONENT = r"[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_ALIAS = re.compile(
    rf"""
    (?P<slug> {_SLUG_COMPONENT} / {_SLUG_COMPONENT} )
    (?: / (?P<selector> {_COMPONENT} )
        (?: / (?P<image_service> {_COMPONENT} ) )? )?
    """,
    re.VERBOSE,
)
_LOCATION = re.compile(r"v2/[0-9a-f]{32}(?:-[0-9]{1,4})?")
_PLATFORM = re.compile(rf"resin/{_COMPONENT}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# https://github.com/opencontainers/image-spec/blob/main/descriptor.md#registered-algorithms
_DIGEST = re.compile(r"(?:sha256|blake3):[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_ARTIFACT_TAG = re.compile(
    r"(?P<algorithm> sha256 | sha512 | blake3 ) - (?P<encoded> [0-9a-f]{64} )"
    r"(?: \. [a-z0-9]+ )?",
    re.VERBOSE,
)
_REFERENCE = re.compile(
    r"""
    (?: (?: docker | oci | https? ) :// )?
    (?: (?: localhost | [^/@]* [.:] [^/@]* ) / )?
    (?P<name> [^:@]* )
    (?: : (?P<tag> [^@]* ) )?
    (?: @ (?P<digest> .* ) )?
    """,
    re.VERBOSE | re.DOTALL,
)
_PLUS = re.compile(r"\+|%2B", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Alias:
    """The repository name that the client uses."""

    slug: Slug
    selector: str | None = None
    image_service: str | None = None

    def __str__(self) -> str:
        """Return the name as the client writes it."""
        parts = (self.slug, self.selector, self.image_service)
        return "/".join(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Reference:
    """What names a release, as somebody typed or pasted it."""

    alias: Alias
    """What is to be resolved; a tag that selects is its selector."""
    ignored_tag: str | None = None
    """A tag that contradicts the selector in the name (rule R9)."""
    digest: Digest | None = None
    """It finds no release; it is compared with that of the release's image."""


def parse_repository_name(
    text: str, example: str = "<org>/<app>/<version>"
) -> RepositoryName:
    """Return the name; who wrote another one is shown the example.

    Raises:
        NameInvalid: the text is no repository name at all.

    """
    if len(text) > NAME_LENGTH_MAX or not _NAME.fullmatch(text):
        raise NameInvalid(
            plus_advice(text, _NAME.fullmatch)
            or f"{shorten(text)} is not a repository name: it consists of lower-case"
            f" letters, digits and single separators, as in {example}"
        )
    return RepositoryName(text)


def parse_alias(text: str) -> Alias:
    """Return the alias.

    Raises:
        AliasInvalid: the name has one component, more than four, or bad characters.

    """
    match = _ALIAS.fullmatch(text) if len(text) <= NAME_LENGTH_MAX else None
    if not match:
        raise AliasInvalid(
            plus_advice(text, _ALIAS.fullmatch)
            or f"{shorten(text)} does not name a release: use <org>/<app>,"
            " <org>/<app>/<version>, <org>/<app>/<commit> or"
            " <org>/<app>/<version>/<service>, in lower case"
        )
    return Alias(Slug(match["slug"]), match["selector"], match["image_service"])


def parse_reference(text: str, *, tags_select: bool = True) -> Reference:
    """Return the reference that somebody typed or pasted at a prompt.

    Where tags do not select, the one of an application is ignored as well.

    Raises:
        AliasInvalid: there is no name of a release in it.

    """
    match = _REFERENCE.fullmatch(text.strip())
    assert match, "every text has a name, be it empty"  # noqa: S101
    name = replace_plus(match["name"])
    if is_stored_name(name):
        raise AliasInvalid(
            f"{shorten(name)} is where an image is stored; what names a release is"
            " <org>/<app>/<version>"
        )
    alias = parse_alias(name)
    tag = None if match["tag"] is None else _parse_own_tag(match["tag"])
    digest = None if match["digest"] is None else _parse_own_digest(match["digest"])
    if tag is None or tag in (*KEYWORDS, alias.selector):
        return Reference(alias, None, digest)
    if alias.selector is not None or not tags_select:
        return Reference(alias, tag, digest)
    return Reference(parse_alias(f"{alias.slug}/{tag}"), None, digest)


def parse_location(text: str) -> Location | None:
    """Return the location that the name is, or None where it is something else."""
    return Location(text) if _LOCATION.fullmatch(text) else None


def brief_location(name: str | None) -> str | None:
    """Return the beginning of a location, or None for what is none."""
    location = None if name is None else parse_location(name)
    return location and f"{location[:LOCATION_LENGTH]}..."


def is_stored_name(text: str) -> bool:
    """Return whether the registry itself knows the name, so that nothing resolves.

    Such are locations, and the host OS and supervisor repositories (rule R3).
    """
    return parse_location(text) is not None or bool(_PLATFORM.fullmatch(text))


def parse_tag(text: str) -> Tag | None:
    """Return the tag that the text is, or None."""
    return Tag(text) if _TAG.fullmatch(text) else None


def parse_digest(text: str) -> Digest | None:
    """Return the digest that the text is, or None."""
    return Digest(text) if _DIGEST.fullmatch(text) else None


def is_artifact_tag(text: str) -> bool:
    """Return whether it is the tag of a signature and the like, or of referrers."""
    return bool(_ARTIFACT_TAG.fullmatch(text))


def artifact_digest(tag: str) -> Digest | None:
    """Return the digest of the manifest that an artifact's tag is about.

    None where the tag has a part of it only, or one that few registries know a
    manifest by: docker-registry fails where it is asked for such a digest.
    """
    match = _ARTIFACT_TAG.fullmatch(tag)
    if match is None or match["algorithm"] != "sha256":
        return None
    return Digest(f"sha256:{match['encoded']}")


def replace_plus(text: str) -> str:
    """Return the text as a reference can carry it, with `_` for `+`."""
    return _PLUS.sub("_", text)


def plus_advice(text: str, is_valid: Callable[[str], object]) -> str | None:
    """Return what is said of a text that is invalid for its `+` alone, or None."""
    name = replace_plus(text)
    if name == text or not is_valid(name):
        return None
    return (
        f"{shorten(text)} has a +, which no reference can carry: write _, as in"
        f" {shorten(name, NAME_LENGTH_MAX)}"
    )


def shorten(text: str, length: int = 80) -> str:
    """Return what somebody sent us as it can be shown: quoted, printable, short."""
    excerpt = text if len(text) <= length else text[: length - 3] + "..."
    return f"'{printable(excerpt)}'"


def printable(text: str) -> str:
    """Return the text in printable ASCII, so that it moves no cursor of a terminal."""
    return text.encode("unicode_escape").decode("ascii")


def _parse_own_tag(text: str) -> str:
    """Return the tag as it stands in a name, which is in lower case (S9)."""
    tag = parse_tag(replace_plus(text))
    if tag is None:
        raise AliasInvalid(
            f"{shorten(text)} is not a tag; it stands at the end, as in"
            " <org>/<app>:<version>"
        )
    return tag.lower()


def _parse_own_digest(text: str) -> Digest:
    digest = parse_digest(text)
    if digest is None:
        raise AliasInvalid(
            f"{shorten(text)} is not a digest; a digest is sha256: and 64 hex digits"
        )
    return digest
