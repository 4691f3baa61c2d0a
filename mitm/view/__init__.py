"""What mitmproxy's interfaces show of this proxy's flows, in place of raw JSON.

A view shows itself where a flow has a record of this proxy's (`mitm.story.record`)
and a message that the view is for; anything else keeps mitmproxy's own views. Each of
them can also be chosen by its name.
"""

from collections.abc import Callable

from mitmproxy import contentviews

from mitm.view.error import ErrorView
from mitm.view.manifest import ManifestView
from mitm.view.release import ReleaseView
from mitm.view.request import RequestView, link_nothing
from mitm.view.token import TokenView

_REQUEST = RequestView()
VIEWS: tuple[contentviews.Contentview, ...] = (
    TokenView(),
    _REQUEST,
    ManifestView(),
    ErrorView(),
    ReleaseView(),
)


def register_views(link_pull: Callable[[str], str] = link_nothing) -> None:
    """Let mitmproxy offer the views; once, however often the script is loaded.

    What is given returns the address of the pull of a flow, or nothing.
    """
    _REQUEST.link_pull = link_pull
    for view in VIEWS:
        # mitmproxy would log that it replaces one, and draw its console anew.
        if contentviews.registry.get(view.name) is not view:
            contentviews.add(view)
