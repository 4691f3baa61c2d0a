"""What people paste where a name is asked for: a reference, and more than that.

::

    pasted   = [ scheme "://" ] [ host "/" ] name [ ":" tag ] [ "@" digest ]
    scheme   = "docker" | "oci" | "http" | "https"
    host     = whatever has "." or ":" in it, or "localhost"
    name     = slug [ "/" selector [ "/" image-service ] ]

As in https://pkg.go.dev/github.com/distribution/reference, whose references have no
scheme. A version may have its `+`, in the name and in the tag, though no reference can.

Which registry the host is does not matter. A tag selects where the name has no
selector, and is ignored where it has one (rule R9). A digest finds no release: it is
kept to be compared with that of the image which the name stands for.
"""

import re
from dataclasses import dataclass

from resolver.errors import AliasInvalid
from resolver.grammar.reference import (
    Alias,
    Digest,
    is_stored_name,
    parse_alias,
    parse_digest,
    parse_tag,
    replace_plus,
    shorten,
)
from resolver.grammar.selector import KEYWORDS

_PASTED = re.compile(
    r"""
    (?: (?: docker | oci | https? ) :// )?
    (?: (?: localhost | [^/@]* [.:] [^/@]* ) / )?
    (?P<name> [^:@]* )
    (?: : (?P<tag> [^@]* ) )?
    (?: @ (?P<digest> .* ) )?
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was pasted, taken apart."""

    alias: Alias
    """What is to be resolved; a tag that selects is its selector."""
    ignored_tag: str | None = None
    """A tag that contradicts the selector in the name."""
    digest: Digest | None = None


def parse_pasted(text: str, *, tags_select: bool = True) -> Pasted:
    """Return what was pasted.

    Where tags do not select, the one of an application is ignored as well.

    Raises:
        AliasInvalid: there is no name of a release in it.

    """
    match = _PASTED.fullmatch(text.strip())
    assert match, "every text has a name, be it empty"  # noqa: S101
    name = replace_plus(match["name"])
    if is_stored_name(name):
        raise AliasInvalid(
            f"{shorten(name)} is where an image is stored; what names a release is"
            " <org>/<app>/<version>"
        )
    alias = parse_alias(name)
    tag = None if match["tag"] is None else _parse_tag(match["tag"])
    digest = None if match["digest"] is None else _parse_digest(match["digest"])
    if tag is None or tag in (*KEYWORDS, alias.selector):
        return Pasted(alias, None, digest)
    if alias.selector is not None or not tags_select:
        return Pasted(alias, tag, digest)
    return Pasted(parse_alias(f"{alias.slug}/{tag}"), None, digest)


def _parse_tag(text: str) -> str:
    """Return the tag as it stands in a name, which is in lower case (S9)."""
    tag = parse_tag(replace_plus(text))
    if tag is None:
        raise AliasInvalid(
            f"{shorten(text)} is not a tag; it stands at the end, as in"
            " <org>/<app>:<version>"
        )
    return tag.lower()


def _parse_digest(text: str) -> Digest:
    digest = parse_digest(text)
    if digest is None:
        raise AliasInvalid(
            f"{shorten(text)} is not a digest; a digest is sha256: and 64 hex digits"
        )
    return digest
