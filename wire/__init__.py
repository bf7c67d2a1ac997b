"""Other processes: the live feed of a host, orders to it, and holding one. pynng is imported when it is first used."""

if __name__ != "executus.wire":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.wire, not {__name__}")
