"""What mitmproxy's interfaces show of this proxy's flows, in place of raw JSON.

A view shows itself where a flow has a record of this proxy's (`mitm.story.record`)
and a message that the view is for; anything else keeps mitmproxy's own views. Each of
them can also be chosen by its name.
"""

from mitmproxy import contentviews

from mitm.view.error import ErrorView
from mitm.view.manifest import ManifestView
from mitm.view.release import ReleaseView
from mitm.view.request import RequestView
from mitm.view.token import TokenView

VIEWS: tuple[contentviews.Contentview, ...] = (
    TokenView(),
    RequestView(),
    ManifestView(),
    ErrorView(),
    ReleaseView(),
)


def register_views() -> None:
    """Let mitmproxy offer the views; once, however often the script is loaded."""
    for view in VIEWS:
        # mitmproxy would log that it replaces one, and draw its console anew.
        if contentviews.registry.get(view.name) is not view:
            contentviews.add(view)
