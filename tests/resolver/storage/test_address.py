"""Which addresses a redirect may lead to, and what an operator can allow."""

from ipaddress import ip_address

import pytest

from resolver.storage.address import is_ambiguous, is_public, parse_allowed

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
INNER = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.2.1", "198.18.0.1"),
    *("224.0.0.1", "224.0.1.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1"),
    *("ff02::1", "ff0e::1", "100::1", "2001:db8::1", "2001:0:a00:1::"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:a00:1::"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_address_of_the_internet(address: str) -> None:
    """What the whole internet reaches is nobody's inner network."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", INNER)
def test_address_that_is_not(address: str) -> None:
    """Loopback, private, link-local and the like are not, nor what stands for them."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("storage.example.com", False),
        ("1.storage.example.com", False),
        ("2130706433", True),
        ("0x7f000001", True),
        ("0x7f.0.0.1", True),
        ("127.1", True),
        ("017700000001", True),
        ("0127.0.0.1", True),
        ("127.0.0.0x1", True),
        ("storage.127", True),
    ],
)
def test_address_in_disguise(host: str, *, expected: bool) -> None:
    """An address has one form, and what only some read as one is none."""
    assert is_ambiguous(host) == expected


def test_list_of_what_is_allowed() -> None:
    """Names count as names, addresses and networks by what they cover."""
    allowed = parse_allowed("Minio.internal, 10.1.0.0/16,192.168.0.7,fd00::/8,")
    assert allowed.hosts == {"minio.internal"}
    covered = [
        address
        for address in ("10.1.2.3", "10.2.0.1", "192.168.0.7", "192.168.0.8", "fd00::1")
        if allowed.covers(ip_address(address))
    ]
    assert covered == ["10.1.2.3", "192.168.0.7", "fd00::1"]
    assert allowed.covers(ip_address("::ffff:10.1.2.3"))
    assert not allowed.covers(ip_address("::ffff:10.2.0.1"))


@pytest.mark.parametrize(
    "entry",
    [
        *("10.1.0.1/16", "10.1.0.0/33", "https://minio", "minio:9000", "mi nio", "*"),
        *("127.1", "a,http://b", "[::1]", "minio/x", "user@minio"),
    ],
)
def test_entry_that_cannot_be_used(entry: str) -> None:
    """A slip of the pen is named, before it closes or opens anything."""
    with pytest.raises(ValueError, match=r"cannot be used; write host names"):
        parse_allowed(entry)
