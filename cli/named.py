"""What the command line names as MODULE:NAME, imported: nothing else ever says what to import."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from .program import Failure, Misuse
from .words import one_line


def imported(option: str, spec: str) -> Any:
    """The object that `spec` names, from the current directory too.

    Raises:
        Misuse: there is nothing of this name. Failure: importing it failed.
    """
    module, colon, name = spec.partition(":")
    if not colon or not module or not name:
        raise Misuse(f"{option}: expected MODULE:NAME, got {one_line(spec)!r}")
    here = os.getcwd()  # noqa: PTH109 - a string for sys.path
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Misuse(f"{option} {one_line(spec)}: {error}") from error
    except Exception as error:
        raise Failure(f"{option} {one_line(spec)}: importing it failed: {type(error).__name__}: {error}") from error
    return found
