"""Models: a scripted one, and real providers."""

if __name__ != "executus.adapters.models":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.models, not {__name__}")
