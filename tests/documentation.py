"""The pages of the documentation, and what stands in them."""

import re
from collections.abc import Mapping

from registry_proxy import ROOT

PAGES: Mapping[str, str] = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
"""The text of each, by its path."""
_BLOCK = re.compile(
    r"^```(?P<language>\w*)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return [m["text"] for m in _BLOCK.finditer(page) if m["language"] == language]


def languages(page: str) -> set[str]:
    """Return the languages of its code blocks."""
    return {match["language"] for match in _BLOCK.finditer(page)}


def prose(page: str) -> str:
    """Return the page without its code blocks."""
    return _BLOCK.sub("", page)
