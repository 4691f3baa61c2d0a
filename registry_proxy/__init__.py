"""The command `registry-proxy`: what people start, from a checkout or a wheel.

In a checkout the rooms stand beside this folder. In a wheel they stand within it, so
that of all names only this one is taken. Either way they are imported by the names that
they have in a checkout, as mitmproxy does it for `addon.py`, in whose folder they are.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
IS_CHECKOUT = not (_HERE / "addon.py").exists()
ROOT = _HERE.parent if IS_CHECKOUT else _HERE
"""The folder of `addon.py`, `mitm.conf` and the rooms."""

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
