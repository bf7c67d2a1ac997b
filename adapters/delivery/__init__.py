"""Deliveries: where a run's output goes, to a function of the host, a directory, or a web address."""

if __name__ != "executus.adapters.delivery":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.delivery, not {__name__}")
