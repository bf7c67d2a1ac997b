"""Where a tool's function is defined, and how another process finds it there again."""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

MAIN = "__main__"
MAIN_AGAIN = "__mp_main__"
"""The name under which a child process runs the main script, so that `if __name__ == "__main__"` stays false."""


def reference(function: Callable[..., Any]) -> tuple[str, str, str]:
    """Return (module, file, qualified name) of `function`; `find_tool` takes them.

    Raises:
        ValueError: it is defined inside another function, is a method of an object, or has no module file, so that no
            other process could import it.
    """
    name = function.__qualname__
    where = f"tool function {name}"
    if "<" in name or getattr(function, "__self__", None) is not None:
        raise ValueError(f"{where} runs in a child process, so define it at the top level of a module")
    module = function.__module__
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if module == MAIN:  # under `python -m` it has a name by which it can be imported
        module = getattr(getattr(loaded, "__spec__", None), "name", MAIN)
    if file is None:
        raise ValueError(f"{where} runs in a child process, so define it in a file, not in {module!r}")
    return module, str(Path(file).absolute()), name


def find_tool(module: str, file: str, name: str) -> Any:
    """Return the tool of that reference, importing its module by name, or from its file if that is another module.

    A main script is run once more under another name, so what it does belongs under `if __name__ == "__main__"`.

    Raises:
        ImportError, AttributeError: it is not there any more.
        Exception: what its module raises when it is imported.
    """
    found: Any = _main(file) if module == MAIN else _module(module, file)
    for attribute in name.split("."):
        found = getattr(found, attribute)
    if hasattr(found, "spec"):
        return found
    from .functions import FunctionTool  # only here: functions.py needs this module

    return FunctionTool(found)


def _module(name: str, file: str) -> ModuleType:
    try:
        module = importlib.import_module(name)
    except ImportError:
        module = None
    if module is not None and _same(getattr(module, "__file__", None), file):
        return module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a module that can be imported", name=name, path=file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _main(file: str) -> ModuleType:
    known = sys.modules.get(MAIN)
    if known is not None and _same(getattr(known, "__file__", None), file):
        return known
    module = ModuleType(MAIN_AGAIN)
    module.__file__ = file
    sys.modules[MAIN] = sys.modules[MAIN_AGAIN] = module
    module.__dict__.update(runpy.run_path(file, run_name=MAIN_AGAIN))
    return module


def _same(one: str | None, other: str) -> bool:
    return one is not None and Path(one).resolve() == Path(other).resolve()
