"""Log lines of executus, without the secrets of any runtime of this process."""

from __future__ import annotations

import logging
import traceback
from typing import Final
from weakref import WeakSet

from .vault import Vault

LOGGERS: Final = (
    *("executus.actors", "executus.budget", "executus.calls", "executus.courier", "executus.critics"),
    "executus.debugger",
    "executus.erasure",
    *(
        "executus.journal",
        "executus.palette",
        "executus.recovery",
        "executus.runtime",
        "executus.supervisor",
        "executus.threads",
    ),
    *("executus.views", "executus.wire"),
)
"""Every logger of the package: a filter of a logger does not see the records of the loggers below it."""

_vaults: WeakSet[Vault] = WeakSet()


def watch_logs(vault: Vault) -> None:
    """From now on log lines are masked by this vault too, for as long as it lives."""
    _vaults.add(vault)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_mask)  # once: a filter that is there is not added again


def _mask(record: logging.LogRecord) -> bool:
    """A logging filter: masks the message, the traceback and the stack of a record."""
    for vault in list(_vaults):
        redactor = vault.redactor
        if redactor.idle:
            continue
        try:
            message = record.getMessage()
        except Exception:  # wrong arguments: the handler says so, and shows them
            message = f"{record.msg} {record.args!r}"
        masked = redactor.text(message)
        if masked != message:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[0] is not None:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if redactor.text(text) != text:  # else whoever handles the record may want the exception itself
                record.exc_text, record.exc_info = redactor.text(text), None
        elif record.exc_text:
            record.exc_text = redactor.text(record.exc_text)
        if record.stack_info:
            record.stack_info = redactor.text(record.stack_info)
    return True
