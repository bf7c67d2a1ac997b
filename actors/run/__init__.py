"""One run: its messages, its decisions, and the thin actor around them."""

if __name__ != "executus.actors.run":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.actors.run, not {__name__}")
