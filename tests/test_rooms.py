"""The rooms of the code are a staircase: each one uses those below it alone.

A room is a folder of a package, or a module beside the folders; what stands in no room
of its own belongs to the room `top`.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "resolver": (
        "symptom",
        "errors",
        "grammar",
        "upstream",
        "release",
        "storage",
        "token",
        "content",
        "naming",
        "blob",
        "top",
    ),
    "mitm": (
        *("version", "output", "parser", "option", "redaction", "secret", "reply"),
        *(
            "guard",
            "settings",
            "story",
            "exchange",
            "outgoing",
            "retry",
            "courier",
            "route",
        ),
        *("replay", "storage", "accel", "endpoint", "view", "command", "top"),
    ),
    "cause": (
        *("finding", "certificate", "answer", "connection", "evidence"),
        *("network", "access", "content", "client", "judge", "top"),
    ),
    "live": (
        *("board", "state", "server", "site"),
        *("shown", "draw", "poll", "log", "watch", "top"),
    ),
    "pull": (
        *("fault", "reference", "place", "login", "manifest", "progress"),
        *("diagnosis", "connection", "blob", "layout", "refusal", "client"),
        *("command", "source", "prefetch", "top"),
    ),
}
"""The rooms of each package, from the lowest to the highest."""


def modules(package: str) -> list[Path]:
    """Return the modules of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(module: Path) -> Iterator[str]:
    """Yield the full names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(package: str, name: str) -> str:
    """Return the room that a name below the package belongs to."""
    first = name.removeprefix(f"{package}.").partition(".")[0]
    return first if first in ROOMS[package] else "top"


def rooms_used(package: str, module: Path) -> Iterator[str]:
    """Yield the rooms of the package that a module uses."""
    for name in imports(module):
        if name.startswith(f"{package}."):
            yield room(package, name)


@pytest.mark.parametrize(
    "module",
    [module for package in ROOMS for module in modules(package)],
    ids=lambda module: str(module.relative_to(ROOT)),
)
def test_room_uses_those_below_it(module: Path) -> None:
    """No arrow runs up, so no room has to be understood before one below it."""
    package, *rest = module.relative_to(ROOT).with_suffix("").parts
    own = room(package, ".".join([package, *rest]))
    order = ROOMS[package]
    above = order[order.index(own) + 1 :]
    assert not set(rooms_used(package, module)).intersection(above)


@pytest.mark.parametrize("package", ROOMS)
def test_modules_form_no_circle(package: str) -> None:
    """Whichever module somebody begins with, reading what it uses comes to an end."""
    names = {
        ".".join(module.relative_to(ROOT).with_suffix("").parts): module
        for module in modules(package)
    }
    uses = {
        name: {
            used
            for full in imports(module)
            for used in (full, full.rpartition(".")[0])
            if used in names and used != name
        }
        for name, module in names.items()
    }
    TopologicalSorter(uses).prepare()


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_are_there(package: str) -> None:
    """Each room has a module, and each folder is a room."""
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    files = {path.stem for path in (ROOT / package).glob("*.py")}
    assert folders <= set(ROOMS[package]) <= folders | files | {"top"}


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        ("resolver", {"addon", "mitm", "mitmproxy", "serve", "pytest"}),
        ("cause", {"addon", "mitm", "mitmproxy", "registry_proxy", "pull", "pytest"}),
        ("pull", {"addon", "mitmproxy", "registry_proxy", "pytest"}),
    ],
)
def test_plain_python(package: str, strangers: set[str]) -> None:
    """They know no mitmproxy, and so are good for any other proxy."""
    for module in modules(package):
        used = {name.partition(".")[0] for name in imports(module)}
        assert not used & strangers, module
