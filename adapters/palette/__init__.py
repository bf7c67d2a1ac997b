"""Palettes: agents and skills registered by name, folders with a SKILL.md, and several palettes in a row."""

if __name__ != "executus.adapters.palette":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.adapters.palette, not {__name__}")
