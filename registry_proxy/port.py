"""Where a server is to listen, and what is wrong with that place.

mitmproxy says so only after it was loaded, in its own words, and does not know by which
variable the place was chosen.
"""

import errno
import random
import socket
from contextlib import suppress

from mitm.option import ValueRefused
from resolver.grammar.url import PORT_MAX

LOOPBACK = "127.0.0.1"
_LOW = range(10_240, 32_768)
"""Below those that systems give to connections that go out, so that none takes it."""
_FIRST_FOR_ALL = 1024
"""Those below need a right of their own."""


def check_place(host: str, port: int, host_variable: str, port_variable: str) -> None:
    """See whether a server can listen there.

    Raises:
        ValueRefused: it cannot; the message names the variable, and a value that works.

    """
    try:
        _listen(host, port)
    except socket.gaierror as error:
        raise ValueRefused(
            f"{host_variable}: {host!r} is no address of this machine; write"
            f" {host_variable}={LOOPBACK}, or {host_variable}=0.0.0.0 for all"
        ) from error
    except OSError as error:
        raise _refusal(error, host, port, (host_variable, port_variable)) from error


def free_port() -> int:
    """Return a port of loopback on which nobody listens.

    Raises:
        ValueRefused: there is none.

    """
    for port in random.sample(_LOW, 100):
        if is_free(LOOPBACK, port):
            return port
    raise ValueRefused("no port of loopback is free")


def is_free(host: str, port: int) -> bool:
    """Return whether a server can listen there."""
    with suppress(OSError):
        _listen(host, port)
        return True
    return False


def _listen(host: str, port: int) -> None:
    """Listen at each address of the host for a moment, as asyncio does it."""
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, *_, address in dict.fromkeys(found):
        with socket.create_server(address[:2], family=family):
            pass


def _refusal(
    error: OSError, host: str, port: int, variables: tuple[str, str]
) -> ValueRefused:
    host_variable, port_variable = variables
    match error.errno:
        case errno.EADDRINUSE:
            above = range(port + 1, PORT_MAX + 1)
            other = next((each for each in above[:100] if is_free(host, each)), 0)
            return ValueRefused(
                f"{port_variable}: {port} of {host} is taken; choose another, as"
                f" {port_variable}={other or free_port()}"
            )
        case errno.EACCES if port < _FIRST_FOR_ALL:
            return ValueRefused(
                f"{port_variable}: only root may listen at {port}; choose one from"
                f" {_FIRST_FOR_ALL} on, as {port_variable}=8080"
            )
        case errno.EADDRNOTAVAIL:
            return ValueRefused(
                f"{host_variable}: this machine does not have the address {host};"
                f" write {host_variable}={LOOPBACK}, or {host_variable}=0.0.0.0 for all"
            )
    return ValueRefused(
        f"{port_variable}: nobody can listen at {port} of {host}:"
        f" {error.strerror or error}"
    )
