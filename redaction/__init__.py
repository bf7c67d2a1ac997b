"""What keeps secrets out of facts, live views, log lines and errors: values known to the host, shapes and names."""

if __name__ != "executus.redaction":  # loaded a second time under a wrong name: two copies of every class
    raise ImportError(f"import executus.redaction, not {__name__}")

from .redactor import MASKS, Mask, Redactor
from .secret import Secret, secret
from .stream import Stream

__all__ = ["MASKS", "Mask", "Redactor", "Secret", "Stream", "secret"]
