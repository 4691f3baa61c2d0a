"""The sample applications: what a real API showed its administrator.

``catalog.json`` holds the rows as measured, by resource. Their image locations
name a registry that does not exist; ``load_catalog`` puts another in its place.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

type Row = dict[str, Any]
type Catalog = Mapping[str, Sequence[Row]]

MEASURED_REGISTRY = "registry2.example.com"


def load_catalog(registry_host: str = MEASURED_REGISTRY) -> Catalog:
    """Return the measured rows, with images stored at ``registry_host``."""
    text = resources.files(__package__).joinpath("catalog.json").read_text("utf-8")
    catalog: dict[str, list[Row]] = json.loads(
        text.replace(f"{MEASURED_REGISTRY}/", f"{registry_host}/")
    )
    return catalog
