"""4. Who acts: pykka actors, their messages and decisions, the dispatcher, the calls."""

if __name__ != "executus.actors":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.actors, not {__name__}")
