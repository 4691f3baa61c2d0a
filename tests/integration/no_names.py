"""A script for mitmproxy: no name can be looked up while the file exists.

Names are looked up by the C library, which asks servers elsewhere; tests do not.
"""

import os
import socket
from pathlib import Path
from typing import Any

_BROKEN = Path(os.environ["NO_NAMES"])
_getaddrinfo = socket.getaddrinfo


def _look_up(host: Any, *args: Any, **options: Any) -> Any:
    if _BROKEN.exists():
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _getaddrinfo(host, *args, **options)


socket.getaddrinfo = _look_up
