"""A script for mitmproxy: a name that it alone knows, as in NAMES=name=address,address.

The first look-up finds the first address, the next one the next, and so on to the last.
"""

import os
import socket
from typing import Any

_NAME, _, _TEXT = os.environ["NAMES"].partition("=")
_ADDRESSES = _TEXT.split(",")
_getaddrinfo = socket.getaddrinfo


def _look_up(host: Any, *args: Any, **options: Any) -> Any:
    if host == _NAME:
        host = _ADDRESSES.pop(0) if len(_ADDRESSES) > 1 else _ADDRESSES[0]
    return _getaddrinfo(host, *args, **options)


socket.getaddrinfo = _look_up
