"""At which address a storage is reached, and which are refused."""

import socket
from collections.abc import Sequence

import pytest

from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.storage.address import parse_allowed
from resolver.storage.border import REMEMBERED_SECONDS, Border, look_up_host

HOST = "s3.example.com"


class Names:
    """Names that resolve to what is said, one look-up after the other."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        """Return the next answer; the last one again and again."""
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_address_is_the_one_that_was_checked() -> None:
    """It is one of those that are like the first; the rest may not be reachable."""
    addresses = ["2606:4700::1", "2606:4700::2", "8.8.8.8"]
    border = Border("registry", parse_allowed(""), look_up=Names(addresses))
    found = {border.address_of(HOST, 443) for _ in range(50)}
    assert found == {"2606:4700::1", "2606:4700::2"}


def test_name_that_changes_its_address(caplog: pytest.LogCaptureFixture) -> None:
    """Each look-up is checked, and between two of them the address stays (T11)."""
    now = 0.0
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    border = Border("registry", parse_allowed(""), look_up=names, clock=lambda: now)
    assert {border.address_of(HOST, 443) for _ in range(3)} == {"8.8.8.8"}
    assert len(names.asked) == 1
    now = REMEMBERED_SECONDS + 1
    with pytest.raises(RedirectRefused) as refused:
        border.address_of(HOST, 443)
    assert "127.0.0.1" not in refused.value.message
    assert f"{HOST}, which is 127.0.0.1, is not on the internet" in caplog.text
    assert "balena_blobs_allow" in caplog.text


@pytest.mark.parametrize(
    "addresses", [["8.8.8.8", "10.0.0.1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]]
)
def test_one_inner_address_is_enough(addresses: Sequence[str]) -> None:
    """A host with an address of an inner network is not reached by its others."""
    border = Border("registry", parse_allowed(""), look_up=Names(addresses))
    with pytest.raises(RedirectRefused):
        border.address_of(HOST, 443)


@pytest.mark.parametrize(
    ("own", "allowed", "expected"),
    [
        ("registry", "10.0.0.0/8", "10.0.0.1"),
        ("registry", HOST, None),
        (HOST.upper(), "", None),
    ],
)
def test_what_is_allowed(own: str, allowed: str, expected: str | None) -> None:
    """A network is open by its addresses; a name, and the registry's, by itself."""
    names = Names(["10.0.0.1"])
    border = Border(own, parse_allowed(allowed), look_up=names)
    assert border.address_of(HOST, 443) == expected
    assert bool(names.asked) == (expected is not None)


def test_name_that_is_not_found(caplog: pytest.LogCaptureFixture) -> None:
    """It may be found later, so it is no refusal, and nothing is remembered."""
    names = Names(socket.gaierror(socket.EAI_AGAIN, "try again"), ["8.8.8.8"])
    border = Border("registry", parse_allowed(""), look_up=names)
    with pytest.raises(ServiceUnavailable) as failed:
        border.address_of(HOST, 443)
    assert failed.value.status == 503
    assert HOST not in failed.value.message
    assert f"{HOST} cannot be found" in caplog.text
    assert border.address_of(HOST, 443) == "8.8.8.8"


def test_address_needs_no_look_up() -> None:
    """The system's own look-up reads an address as it stands."""
    assert look_up_host("127.0.0.1", 443) == ["127.0.0.1"]
    assert look_up_host("::1", 443) == ["::1"]
