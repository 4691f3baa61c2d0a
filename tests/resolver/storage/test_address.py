"""At which addresses a storage is reached, and which are refused."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.storage.address import (
    Addresses,
    is_public,
    parse_allowed,
)
from resolver.storage.url import Url
from resolver.upstream.host import FAILURE_SECONDS, REMEMBERED_SECONDS, Hosts
from resolver.upstream.outgoing import NONE, Proxies

HOST = "s3.example.com"
PUBLIC = (
    *("8.8.8.8", "169.253.255.255", "172.32.0.1", "192.0.1.1", "223.255.1.1"),
    *("2606:4700::1111", "2001:200::1", "3fff:1000::1", "3ffe::1"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808"),
)
SPECIAL = (
    # The special-purpose addresses of IANA, one of each entry.
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.8.8.8", "169.254.1.1", "172.31.255.1"),
    *("192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.1.1", "239.1.1.1", "255.255.255.255"),
    *("::", "::1", "64:ff9b:1::808:808", "100::1", "2001:0:a00:1::", "2001:2::1"),
    *("2001:1::1", "2001:db8::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1"),
    *("fe80::1%eth0", "fec0::1", "ff02::1", "4000::1", "1000::1"),
    # Where clouds tell a machine its secrets.
    *("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"),
    # IPv6 addresses that stand for IPv4 addresses: mapped, compatible, NAT64, 6to4
    # and Teredo, which has its address inverted.
    *("::ffff:127.0.0.1", "::ffff:168.63.129.16", "::10.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2002:808:808::"),
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_address_of_the_internet(address: str) -> None:
    """What the whole internet reaches is nobody's inner network."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", SPECIAL)
def test_address_that_is_special(address: str) -> None:
    """Nothing special is public, nor what stands for it, on any Python (T11)."""
    assert not is_public(ip_address(address))


def test_list_of_what_is_allowed() -> None:
    """Names count as names, addresses and networks by what they cover."""
    allowed = parse_allowed("Minio.internal, 10.1.0.0/16,192.168.0.7,fd00::/8,")
    assert allowed.hosts == {"minio.internal"}
    covered = [
        "10.1.2.3",
        "192.168.0.7",
        "fd00::1",
        "::ffff:10.1.2.3",
        "64:ff9b::a01:1",
    ]
    others = ["10.2.0.1", "192.168.0.8", "fe00::1", "::ffff:10.2.0.1", "::a01:203"]
    assert [text for text in covered if not allowed.covers(ip_address(text))] == []
    assert [text for text in others if allowed.covers(ip_address(text))] == []


@pytest.mark.parametrize(
    "entry",
    [
        *("10.1.0.1/16", "10.1.0.0/33", "minio:9000", "mi nio", "*"),
        *("127.1", "a,http://b", "[::1]", "user@minio"),
    ],
)
def test_entry_that_cannot_be_used(entry: str) -> None:
    """A slip of the pen is named, before it closes or opens anything."""
    with pytest.raises(ValueError, match=r"cannot be used; write host names"):
        parse_allowed(entry)


class Names:
    """Names that resolve to what is said, one look-up after the other."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.now = 0.0

    def __call__(self, host: str, _port: int) -> Sequence[str]:
        """Return the next answer; the last one again and again."""
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def addresses(
        self, own: str = "registry", allowed: str = "", proxies: Proxies = NONE
    ) -> Addresses:
        """Return the addresses as a proxy with these options knows them."""
        hosts = Hosts(
            look_up=self, race=lambda all_, _: all_[0], clock=lambda: self.now
        )
        return Addresses(own, parse_allowed(allowed), hosts, proxies)


def test_address_is_the_one_that_was_checked() -> None:
    """All of them are, and it is the one that accepts connections (T11)."""
    names = Names(["2606:4700::1", "2606:4700::2", "8.8.8.8"])
    addresses = names.addresses()
    assert len(addresses.find(HOST, 443)) == 3
    assert addresses.choose(HOST, 443) == "2606:4700::1"
    assert names.asked == [HOST]


def test_name_that_changes_its_address(caplog: pytest.LogCaptureFixture) -> None:
    """Each look-up is checked, and between two of them the address stays (T11)."""
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    addresses = names.addresses()
    assert {addresses.choose(HOST, 443) for _ in range(3)} == {"8.8.8.8"}
    assert len(names.asked) == 1
    names.now = REMEMBERED_SECONDS + 1
    with pytest.raises(RedirectRefused) as refused:
        addresses.find(HOST, 443)
    assert "127.0.0.1" not in refused.value.message
    assert f"{HOST}, which is 127.0.0.1, is not on the internet" in caplog.text
    assert "balena_blobs_allow" in caplog.text


@pytest.mark.parametrize(
    ("found", "own", "allowed", "expected"),
    [
        (["10.0.0.1"], "registry", "10.0.0.0/8", "10.0.0.1"),
        # A name that is open is not checked.
        (["10.0.0.1"], "registry", HOST, "10.0.0.1"),
        (["10.0.0.1"], HOST.upper(), "", "10.0.0.1"),
        # One address of an inner network is enough.
        (["8.8.8.8", "10.0.0.1"], "registry", "", "refused"),
        (["8.8.8.8", "10.0.0.1"], "registry", "10.0.1.0/24,8.8.8.8", "refused"),
        (["::ffff:10.0.0.1"], "registry", "", "refused"),
        (["fe80::1%eth0"], "registry", "", "refused"),
    ],
)
def test_host_is_allowed_or_refused(
    found: Sequence[str], own: str, allowed: str, expected: str
) -> None:
    """A network is open by its addresses; a name, and the registry's, by itself."""
    names = Names(found)
    try:
        address = names.addresses(own, allowed).choose(HOST, 443)
    except RedirectRefused:
        address = "refused"
    assert address == expected


@pytest.mark.parametrize(
    ("host", "found", "allowed", "is_reached"),
    [
        (HOST, ["8.8.8.8"], "", True),
        (HOST, socket.gaierror("nobody here knows it"), "", True),
        (HOST, ["10.0.0.1"], "", False),
        (HOST, ["10.0.0.1"], "10.0.0.0/8", True),
        (HOST, ["10.0.0.1"], HOST, True),
        ("10.0.0.1", [], "", False),
        ("169.254.169.254", [], "", False),
        ("8.8.8.8", [], "", True),
    ],
)
def test_host_that_a_proxy_goes_for(
    host: str, found: Sequence[str] | OSError, allowed: str, *, is_reached: bool
) -> None:
    """What is known here to be inner is refused; the rest is the proxy's affair."""
    proxies = Proxies.of({"https_proxy": "http://proxy.test:3128"})
    addresses = Names(found).addresses(allowed=allowed, proxies=proxies)
    destination = Url("https", host, 443, "/")
    if is_reached:
        assert addresses.reach(destination) == ()
    else:
        with pytest.raises(RedirectRefused):
            addresses.reach(destination)


def test_host_that_no_proxy_goes_for() -> None:
    """It is checked, and has to be found, as if there were no proxy."""
    variables = {"https_proxy": "http://proxy.test:3128", "no_proxy": HOST}
    names = Names(["8.8.8.8"], ["10.0.0.1"])
    addresses = names.addresses(proxies=Proxies.of(variables))
    assert addresses.reach(Url("https", HOST, 443, "/")) == ["8.8.8.8"]
    names.now = REMEMBERED_SECONDS + 1
    for scheme in ("http", "https"):
        with pytest.raises(RedirectRefused):
            addresses.reach(Url(scheme, HOST, 443, "/"))


def test_name_that_is_not_found(caplog: pytest.LogCaptureFixture) -> None:
    """It may be found later, so it is no refusal, and soon asked for again."""
    names = Names(socket.gaierror(socket.EAI_AGAIN, "try again"), ["8.8.8.8"])
    addresses = names.addresses()
    with pytest.raises(ServiceUnavailable) as failed:
        addresses.find(HOST, 443)
    assert failed.value.status == 503
    assert HOST not in failed.value.message
    assert f"{HOST} cannot be found" in caplog.text
    names.now = FAILURE_SECONDS
    assert addresses.choose(HOST, 443) == "8.8.8.8"
