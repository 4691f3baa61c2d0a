"""A script for mitmproxy: a name that it alone knows, as KNOWN_HOSTS=name=address says.

Of several addresses, with commas between them, the first look-up finds the first, the
next one the next, and so on to the last.
With a plus between them, addresses are found at once. Each look-up takes
KNOWN_HOSTS_SECONDS.
A number in the place of an address is the error that there is none (getaddrinfo(3)).
"""

import os
import socket
import time
from typing import Any

_NAME, _, _TEXT = os.environ["KNOWN_HOSTS"].partition("=")
_ADDRESSES = _TEXT.split(",")
_SECONDS = float(os.environ.get("KNOWN_HOSTS_SECONDS", "0"))
_getaddrinfo = socket.getaddrinfo


def _look_up(host: Any, *args: Any, **options: Any) -> Any:
    hosts = [host]
    if host == _NAME:
        time.sleep(_SECONDS)
        text = _ADDRESSES.pop(0) if len(_ADDRESSES) > 1 else _ADDRESSES[0]
        if text.startswith("-"):
            raise socket.gaierror(int(text), "no such luck")
        hosts = text.split("+")
    return [found for each in hosts for found in _getaddrinfo(each, *args, **options)]


socket.getaddrinfo = _look_up
