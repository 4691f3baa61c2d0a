"""Every option of mitmproxy is one that can be used, or that is refused."""

import asyncio
from collections.abc import Callable

import pytest
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.tools.console.master import ConsoleMaster
from mitmproxy.tools.dump import DumpMaster
from mitmproxy.tools.web.master import WebMaster

from mitm.option import OPTIONS_OF_MITMPROXY, REFUSED

INTERFACE = ("console_", "dumper_", "intercept", "view_", "web_")
"""What options begin with that are about what is shown."""
HARMLESS = {
    # Who may connect, and how TLS is spoken with whom.
    *("add_upstream_certs_to_client_chain", "block_global", "block_private"),
    *("block_list", "cert_passphrase", "certs", "ciphers_client", "ciphers_server"),
    *("client_certs", "key_size", "request_client_cert", "tls_ecdh_curve_client"),
    *("tls_ecdh_curve_server", "tls_version_client_max", "tls_version_client_min"),
    *("tls_version_server_max", "tls_version_server_min", "upstream_cert"),
    # How connections are made.
    *("connect_addr", "connection_strategy", "http2", "http2_ping_keepalive", "http3"),
    *("http_connect_send_host_header", "listen_host", "listen_port", "server"),
    *("normalize_outbound_headers", "tcp_timeout"),
    # Nothing but HTTP is served.
    *("dns_name_servers", "dns_use_hosts_file", "onboarding_host", "strip_ech"),
    # They change what the addon let through, as whoever set them asked for.
    *("anticache", "anticomp", "modify_body", "modify_headers", "scripts"),
    # What is shown, saved and read again; the addon took the secrets out of it.
    *("command_history", "confdir", "content_view_lines_cutoff", "flow_detail"),
    *("export_preserve_original_ip", "hardump", "keepserving", "protobuf_definitions"),
    *("readfile_filter", "rfile", "save_stream_file", "save_stream_filter"),
    *("show_ignored_hosts", "showhost", "store_streamed_bodies", "termlog_verbosity"),
    # A client's request is asked again as what it was, and the addon sees it.
    *("client_replay", "client_replay_concurrency"),
    # They say how server_replay works, which is refused.
    *("server_replay_extra", "server_replay_ignore_content"),
    *("server_replay_ignore_host", "server_replay_ignore_params"),
    *("server_replay_ignore_payload_params", "server_replay_ignore_port"),
    *("server_replay_kill_extra", "server_replay_nopop", "server_replay_refresh"),
    *("server_replay_reuse", "server_replay_use_headers"),
}


@pytest.mark.parametrize("make", [DumpMaster, WebMaster, ConsoleMaster])
def test_every_option_is_refused_or_harmless(make: Callable[[Options], Master]) -> None:
    """One that a new version brings has to be looked at before that is used."""

    async def names() -> set[str]:
        return set(make(Options()).options.keys())

    known = {name for name in asyncio.run(names()) if not name.startswith(INTERFACE)}
    assert known - HARMLESS - set(OPTIONS_OF_MITMPROXY) == set()
    assert not HARMLESS & set(OPTIONS_OF_MITMPROXY)
    assert set(REFUSED) < known
