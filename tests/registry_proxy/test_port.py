"""Where nobody can listen, a message names the variable and a place that works."""

import errno
import socket
from collections.abc import Iterator

import pytest

from mitm.option import ValueRefused
from registry_proxy.port import LOOPBACK, check_place, free_port, is_free

VARIABLES = ("LISTEN_HOST", "PROXY_PORT")


@pytest.fixture
def taken() -> Iterator[int]:
    """Yield a port on which somebody listens."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def refusal(host: str, port: int) -> str:
    """Return what is said of the place."""
    with pytest.raises(ValueRefused) as refused:
        check_place(host, port, *VARIABLES)
    return str(refused.value)


@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0", "localhost"])
def test_taken_port(taken: int, host: str) -> None:
    """Another one is named, and is free."""
    said = refusal(host, taken)
    start = f"PROXY_PORT: {taken} of {host} is taken; choose another, as PROXY_PORT="
    assert said.startswith(start)
    assert is_free(host, int(said.removeprefix(start)))


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("no.such.invalid", "LISTEN_HOST: 'no.such.invalid' is no address of this"),
        ("192.0.2.1", "LISTEN_HOST: this machine does not have the address 192.0.2.1;"),
    ],
)
def test_address_that_is_none(host: str, said: str) -> None:
    """The variable is named, and addresses that work."""
    message = refusal(host, 0)
    assert message.startswith(said)
    assert "; write LISTEN_HOST=127.0.0.1, or " in message


def test_port_that_needs_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root has them, so the system's refusal is made up."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert refusal(LOOPBACK, 80).endswith("choose one from 1024 on, as PROXY_PORT=8080")
    # Beyond those, something else forbids it.
    assert refusal(LOOPBACK, 8080).endswith("8080 of 127.0.0.1: Permission denied")


def test_any_port_can_be_asked_for() -> None:
    """0 is always free, and a free one is below those of connections that go out."""
    check_place(LOOPBACK, 0, *VARIABLES)
    assert is_free(LOOPBACK, free_port())
