"""A secret is in its flow while the layers below handle an event, and not before."""

from collections.abc import Iterator

import pytest
from mitmproxy import connection, ctx, http
from mitmproxy.addons.export import Export
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers.http import (  # type: ignore[attr-defined]
    HttpRequestHook,
    HttpResponseHook,
)
from mitmproxy.test import taddons, tflow

import addon
from mitm.courier import Courier, Couriers
from mitm.exchange import Exchange
from mitm.secret import Login
from tests.mitm.exposure import assert_hidden, everything
from tests.mitm.sample import SIGNATURE

SENT, SHOWN = f"Bearer {SIGNATURE}", "Bearer [redacted]"


class Sending(layer.Layer):
    """Sends what the flow shows, twice for each event, and waits for a hook between."""

    def __init__(self, flow: http.HTTPFlow, proxied: context.Context) -> None:
        super().__init__(proxied)
        self._flow = flow

    def _handle_event(self, _event: events.Event) -> layer.CommandGenerator[None]:
        for _ in range(2):
            yield commands.SendData(
                self.context.client, everything(self._flow).encode()
            )
            yield commands.Log("a command of another kind")


class Chooser:
    """Chooses this layer, where mitmproxy's own addon looks at what a client sends."""

    name = "nextlayer"

    def __init__(self, chosen: layer.Layer) -> None:
        self._chosen = chosen

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Choose."""
        nextlayer.layer = self._chosen


@pytest.fixture
def flow() -> Iterator[http.HTTPFlow]:
    """A flow that shows a token without its signature."""
    with taddons.context(addon.RegistryProxy(), Export()):
        flow = tflow.tflow()
        flow.request.headers["authorization"] = SHOWN
        yield flow


@pytest.fixture
def exchanges(flow: http.HTTPFlow) -> dict[http.HTTPFlow, Exchange]:
    """The exchange of the flow, with the secret to send."""
    exchange = Exchange("/v2/", {})
    exchange.secrets.append(Login(SENT, SHOWN))
    return {flow: exchange}


def make_courier(
    flow: http.HTTPFlow, exchanges: dict[http.HTTPFlow, Exchange]
) -> layer.Layer:
    """Return what mitmproxy gets in the place of the layer that it chose."""
    proxied = context.Context(flow.client_conn, ctx.options)
    asking = layer.NextLayer(proxied)
    chosen = Sending(flow, proxied)
    ctx.master.addons.add(Chooser(chosen))
    couriers = Couriers(exchanges, lambda _: False, lambda *_: None, lambda _, top: top)
    couriers.begin()
    couriers.send_one(asking)
    assert isinstance(asking.layer, Courier)
    return asking.layer


def sent_in(
    courier: layer.Layer, flow: http.HTTPFlow, event: events.Event
) -> list[bool]:
    """Return of each piece that was sent whether it had the secret in it.

    Whenever anything else could run, the flow has none.
    """
    pieces = []
    for command in courier.handle_event(event):
        assert_hidden(flow)
        if isinstance(command, commands.SendData):
            pieces.append(SIGNATURE in command.data.decode())
    assert_hidden(flow)
    return pieces


def test_request_is_sent_after_its_hook(
    flow: http.HTTPFlow, exchanges: dict[http.HTTPFlow, Exchange]
) -> None:
    """On a connection that is kept at once, on a new one once that is there."""
    courier = make_courier(flow, exchanges)
    opened = events.OpenConnectionCompleted(
        commands.OpenConnection(connection.Server(address=("registry", 443))), None
    )
    assert sent_in(courier, flow, opened) == [False, False]
    asked = events.HookCompleted(HttpRequestHook(flow))
    assert sent_in(courier, flow, asked) == [True, True]
    assert sent_in(courier, flow, opened) == [True, True]
    exchanges[flow].forget(flow)
    assert sent_in(courier, flow, opened) == [False, False]


def test_exchange_ends_with_the_answer(
    flow: http.HTTPFlow, exchanges: dict[http.HTTPFlow, Exchange]
) -> None:
    """What was sent last is forgotten, and with it all that is known of the flow."""
    courier = make_courier(flow, exchanges)
    over = events.HookCompleted(HttpResponseHook(flow))
    assert sent_in(courier, flow, over) == [True, True]
    assert not exchanges
    assert sent_in(courier, flow, over) == [False, False]


def test_flow_without_secrets_is_let_through(
    flow: http.HTTPFlow, exchanges: dict[http.HTTPFlow, Exchange]
) -> None:
    """Nearly all events of a connection are about none."""
    exchanges.clear()
    courier = make_courier(flow, exchanges)
    asked = events.HookCompleted(HttpRequestHook(flow))
    assert sent_in(courier, flow, asked) == [False, False]


def test_connection_has_one_courier(
    flow: http.HTTPFlow, exchanges: dict[http.HTTPFlow, Exchange]
) -> None:
    """Layers that stand below others, as HTTP in TLS, are mitmproxy's to choose."""
    couriers = Couriers(exchanges, lambda _: False, lambda *_: None, lambda _, top: top)
    proxied = context.Context(flow.client_conn, ctx.options)
    ctx.master.addons.add(Chooser(Sending(flow, proxied)))
    above, below = layer.NextLayer(proxied), layer.NextLayer(proxied)
    couriers.begin()
    couriers.send_one(above)
    couriers.send_one(below)
    assert isinstance(above.layer, Courier)
    assert below.layer is None


def test_client_that_comes_before_the_start_is_over(
    flow: http.HTTPFlow, exchanges: dict[http.HTTPFlow, Exchange]
) -> None:
    """Its token comes whole as well: mitmproxy listens before it says that it runs."""
    couriers = Couriers(exchanges, lambda _: False, lambda *_: None, lambda _, top: top)
    proxied = context.Context(flow.client_conn, ctx.options)
    ctx.master.addons.add(Chooser(Sending(flow, proxied)))
    asking = layer.NextLayer(proxied)
    couriers.send_one(asking)
    assert isinstance(asking.layer, Courier)
