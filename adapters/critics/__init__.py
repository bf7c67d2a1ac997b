"""Critics: rules that notice a run that is stuck, a second model that judges it, and several in one."""

if __name__ != "executus.adapters.critics":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.critics, not {__name__}")
