"""The licences of what the image ships are told, as the packages tell them."""

import re

from registry_proxy import ROOT
from tests.licences import format_table, licence_of, packages

SECURITY = (ROOT / "docs" / "security.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OWN = "Apache-2.0"


def test_licences_are_documented() -> None:
    """The page has the table as it is printed."""
    assert format_table() in SECURITY


def test_licences_are_in_the_label() -> None:
    """The image's label has each of them, and the proxy's own."""
    stage = DOCKERFILE.partition(" AS proxy\n")[2]
    (label,) = re.findall(r'image\.licenses="(.*?)"', stage)
    named = {OWN}
    for package in packages():
        named.update(re.split(" AND | OR ", licence_of(package)))
    assert label.split(" AND ") == sorted(named)
