"""Secrets by their looks: tokens, logins and locations, wherever in a text."""

import re

from resolver.grammar.reference import LOCATION_LENGTH

REDACTED = "[redacted]"
"""What stands in the place of a secret."""
_SECRETS = re.compile(
    r"""
    \b eyJ [\w-]{8,} \. [\w-]+ \. [\w-]{8,} (?: ~ [\w-]* )?   # a JWT, with its aliases
    | (?<= \b[Bb]asic\s ) (?! authentication\b | authorization\b | credentials\b )
      [A-Za-z0-9+/]{8,} ={0,2}
    | (?<= \b[Bb]earer\s ) (?! authentication\b | authorization\b | credentials\b )
      [A-Za-z0-9._~+/-]{8,} ={0,2}
    """,
    re.VERBOSE,
)
_LOCATION = re.compile(r"\bv2/[0-9a-f]{32}(?:-[0-9]{1,4})?")


def without_secrets(text: str) -> str:
    """Return the text without tokens and logins; of a location the beginning is left.

    Words after the name of a scheme are none, as in "Bearer authentication".
    """
    return _LOCATION.sub(_brief, _SECRETS.sub(REDACTED, text))


def _brief(location: re.Match[str]) -> str:
    return f"{location[0][:LOCATION_LENGTH]}..."
