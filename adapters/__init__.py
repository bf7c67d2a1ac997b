"""6. The world: models, tools, recorded conversations, the system's clock and ids."""

if __name__ != "executus.adapters":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters, not {__name__}")
