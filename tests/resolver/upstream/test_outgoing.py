"""Which proxy goes for which host, and what is said of values that cannot work."""

import base64

import pytest

from resolver.upstream.outgoing import NONE, Proxies

PROXY = "http://proxy.test:3128"
EXEMPT = (
    ".example.com, registry.test:5000 *.inner.test 10.0.0.0/8,192.0.2.1 [2001:db8::1]"
)


@pytest.mark.parametrize(
    ("variables", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": PROXY}, 3128, None),
        ({"HTTP_PROXY": PROXY}, None, 3128),
        ({"ALL_PROXY": PROXY}, 3128, 3128),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": PROXY}, 1, None),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, None, None),
        ({"HTTPS_PROXY": "http://one:1", "all_proxy": "two:2"}, 1, 2),
        ({"HTTPS_PROXY": "proxy.test"}, 80, None),
        ({"HTTPS_PROXY": "https://proxy.test/"}, 443, None),
        ({"HTTPS_PROXY": "http://[2001:db8::5]:8080"}, 8080, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.test,*"}, None, None),
        # What is not used is not read.
        (
            {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "ALL_PROXY": "socks://x"},
            *(3128, 3128),
        ),
        ({"NO_PROXY": "192.168.*"}, None, None),
    ],
)
def test_proxy_of_a_url(
    variables: dict[str, str], https: int | None, http: int | None
) -> None:
    """Each scheme has its variable, in lower case before capitals, or that for all."""
    proxies = Proxies.of(variables)
    found = [
        proxies.find_for(f"{scheme}://registry.test/v2/")
        for scheme in ("https", "http")
    ]
    assert [proxy and proxy.port for proxy in found] == [https, http]
    assert bool(proxies) is bool(https or http)


@pytest.mark.parametrize(
    ("host", "port", "is_proxied"),
    [
        ("registry2.balena-cloud.com", 443, True),
        ("example.com", 443, False),
        ("s3.example.com", 443, False),
        ("notexample.com", 443, True),
        ("example.com.test", 443, True),
        ("registry.test", 5000, False),
        ("a.registry.test", 5000, False),
        ("registry.test", 443, True),
        ("a.inner.test", 443, False),
        ("10.20.30.40", 443, False),
        ("11.0.0.1", 443, True),
        ("192.0.2.1", 443, False),
        ("192.0.2.10", 443, True),
        ("2001:db8::1", 443, False),
        ("2001:db8::2", 443, True),
        ("localhost", 443, False),
        ("cloud.localhost", 443, False),
        ("127.8.9.1", 443, False),
        ("::1", 443, False),
    ],
)
def test_host_that_is_reached_without(
    host: str, port: int, *, is_proxied: bool
) -> None:
    """So are the hosts that are named, those below them, networks, and this machine."""
    proxies = Proxies.of({"HTTPS_PROXY": PROXY, "NO_PROXY": EXEMPT})
    assert (proxies.find("https", host, port) is not None) is is_proxied
    assert proxies.find("http", host, port) is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HTTPS_PROXY", "socks5://u:secret@h:1080", "socks5:// cannot be used"),
        ("https_proxy", "socks5h://u:secret@h:1080", "socks5h:// cannot be used"),
        ("HTTP_PROXY", "http://u:sec#ret@h:1", "it names no host"),
        ("HTTP_PROXY", "http://u:se/cret@h:1", "it names no host"),
        ("HTTP_PROXY", "http://1:2/secret@h:1", "nothing may stand behind its port"),
        ("ALL_PROXY", "http://u:secret@h:99999", "it names no host"),
        ("ALL_PROXY", "http://u:secret@", "it names no host"),
        ("ALL_PROXY", "http://u:secret@[h", "it names no host"),
        ("ALL_PROXY", "http://u:secret@h:1/path", "nothing may stand behind its port"),
    ],
)
def test_value_that_cannot_work(variable: str, value: str, said: str) -> None:
    """The message names the variable and a right value, and shows no password."""
    with pytest.raises(ValueError, match=f"^{variable}: {said}") as refused:
        Proxies.of({variable: value})
    message = str(refused.value)
    assert "http://user:password@proxy.example.com:3128" in message
    assert not [part for part in ("secret", "sec", "cret", "ret@") if part in message]


@pytest.mark.parametrize("entry", ["192.168.*", "10.0.0.0/33", "https://example.com"])
def test_exemption_that_is_none(entry: str) -> None:
    """It would mean no host, and what it was meant for would go by the proxy."""
    with pytest.raises(ValueError, match=r"^NO_PROXY: ") as refused:
        Proxies.of({"HTTPS_PROXY": PROXY, "NO_PROXY": f"a.test,{entry}"})
    assert entry in str(refused.value)


def test_login() -> None:
    """It is what the URL says, decoded, and is shown nowhere."""
    proxies = Proxies.of({"HTTPS_PROXY": "http://corp%5Cann:p%40ss:w%C3%B6rd@h:1"})
    assert proxies.https
    expected = base64.b64encode("corp\\ann:p@ss:wörd".encode()).decode()
    assert proxies.https.authorization == f"Basic {expected}"
    assert proxies.https.url_at("192.0.2.1") == "http://192.0.2.1:1"
    assert proxies.at(("h", 1)) is proxies.https
    assert proxies.at(("h", 2)) is None
    shown = repr(proxies)
    assert not [part for part in ("ann", "p@ss", "p%40ss", expected) if part in shown]


@pytest.mark.parametrize(
    ("login", "status", "said"),
    [
        ("", 407, "asks for a login: write it into HTTPS_PROXY (407)"),
        ("u:p@", 407, "does not accept the login in HTTPS_PROXY (407)"),
        ("", 403, "refuses to connect to it: 403 No"),
        ("", 503, "cannot connect to it: 503 No"),
    ],
)
def test_words_of_a_refusal(login: str, status: int, said: str) -> None:
    """They say what the operator can do."""
    proxy = Proxies.of({"HTTPS_PROXY": f"http://{login}[2001:db8::1]:3128"}).https
    assert proxy
    assert proxy.refusal(status, "No") == f"the proxy [2001:db8::1]:3128 {said}"


def test_without_a_proxy_nothing_is_read() -> None:
    """A URL that cannot be read costs nothing, and is somebody else's to refuse."""
    assert NONE.find_for("https://[") is None


def test_one_proxy_has_one_login() -> None:
    """It is known by its address, so two logins could be taken for each other."""
    one, other = "http://a:secret@p.example:1", "http://b:secret@p.example:1"
    with pytest.raises(ValueError, match="HTTP_PROXY: its login at"):
        Proxies.of({"HTTPS_PROXY": one, "HTTP_PROXY": other})
    assert Proxies.of({"HTTPS_PROXY": one, "HTTP_PROXY": one})


def test_empty_variable_switches_off() -> None:
    """Also where there is one for all the rest; and names have no case."""
    found = Proxies.of({"https_proxy": "", "ALL_PROXY": "p:1", "NO_PROXY": "a.example"})
    assert found.find("https", "h.example", 443) is None
    assert found.find("http", "h.example", 80)
    assert found.find("http", "H.A.Example", 80) is None
