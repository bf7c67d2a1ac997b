"""executus: a runtime for LLM-agent runs that can be supervised, budgeted, replayed and trusted."""

if __name__ != "executus":  # loaded under the clone's folder name: two copies of every class
    raise ImportError(f"import executus, not {__name__}")
