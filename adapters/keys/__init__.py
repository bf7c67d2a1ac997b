"""Keys of hosts, and the cipher that journals are sealed with."""

if __name__ != "executus.adapters.keys":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.keys, not {__name__}")
