"""7. A reader of the log: the time-travel page in a browser. It never imports actors, and writes nothing itself.

    app(journal or path, host=None)     the page and its JSON as an ASGI application, to be served or mounted
    serve(app(…))                       the same, served on loopback until Ctrl-C
    recorded_page(journal, run)         the same with one run in it, as one HTML file

The first two need the extra `debug`. What acts on a run goes through `ports.LiveHost`; without one there is nothing to
press.
"""

if __name__ != "executus.debugger":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.debugger, not {__name__}")

from .opening import app, serve
from .recorded import recorded_page

__all__ = ["app", "recorded_page", "serve"]
