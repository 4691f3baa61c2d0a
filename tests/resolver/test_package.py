"""The resolver stands on its own."""

import subprocess
import sys
from pathlib import Path

import resolver

ROOT = Path(resolver.__path__[0])
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
