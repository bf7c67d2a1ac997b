"""Tools: typed functions, and the child process a killable one runs in."""

if __name__ != "executus.adapters.tools":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.tools, not {__name__}")
