"""The resolver stands on its own, and its rooms stand on one another."""

import ast
import subprocess
import sys
from pathlib import Path

import resolver

ROOT = Path(resolver.__path__[0])
ROOMS = ["errors", "grammar", "upstream", "release", "storage", "token", "content"]
"""Each uses those before it, and itself, alone."""
PROGRAM = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import resolver
for module in pkgutil.walk_packages(resolver.__path__, "resolver."):
    importlib.import_module(module.name)
loaded = {name.partition(".")[0] for name in sys.modules}
print(len(resolver.__path__), sorted(loaded & {"addon", "mitmproxy", "pytest"}))
"""


def test_resolver_needs_no_mitmproxy() -> None:
    """All modules of the resolver can be imported without loading mitmproxy."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT.parent)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "1 []\n"


def test_no_room_uses_one_above_it() -> None:
    """Dependencies point down the rooms (`resolver.__init__` has their order)."""
    upward = [
        f"{path.relative_to(ROOT)} imports {node.module}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and path.parent != ROOT
        if node.module and node.module.startswith("resolver.")
        if ROOMS.index(node.module.split(".")[1]) > ROOMS.index(path.parent.name)
    ]
    assert upward == []
    errors = (ROOT / "errors.py").read_text()
    assert "from resolver" not in errors
