"""What may name something on disk: given names of files, ids of runs and files, addresses of content.

Nothing is opened here, and no rule asks the disk: a name is judged by its text alone.
"""

from __future__ import annotations

import re
import unicodedata

from ...errors import FileRefused

MAX_NAME_BYTES = 255
"""Bytes of a file name in UTF-8, as file systems count them."""

MAX_MEDIA_TYPE = 255

_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL)
_TURNS_TEXT = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that show a name in another order than it has: what ends in "exe" may look like it ends in "pdf"."""

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILE_ID = re.compile(r"file-[0-9a-f]{16}")
_ADDRESS = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[ -~]+")


def checked_name(name: str) -> str:
    """The name in Unicode's composed form (NFC), if it is one that every system can keep and nobody can misread.

    Raises:
        FileRefused: it is empty, over 255 bytes, or has a separator, a control character, a dot or dash in front, a
            dot or space behind, or the name of a Windows device; says which.
    """
    if not isinstance(name, str):
        raise TypeError(f"file name: expected str, got {type(name).__name__}")
    composed = unicodedata.normalize("NFC", name)
    fault = _fault(composed)
    if fault:
        raise FileRefused(f"file name {shown(name)}: {fault}")
    return composed


def _fault(name: str) -> str | None:
    if not name:
        return "it is empty"
    if any(unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") or mark in _TURNS_TEXT for mark in name):
        return "it has a control character"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    if any(separator in name for separator in "/\\:"):
        return "it has a separator ('/', '\\' or ':')"
    if name[0] in ".-":
        return f"it begins with {name[0]!r}"
    if name[-1] == "." or name[-1].isspace():
        return "it ends with a dot or a space"
    if _DEVICES.fullmatch(name):
        return "it means a device on Windows"
    return None


def same_name_key(name: str) -> str:
    """Equal for two names that a file system may take for one: those that differ only in case or composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def shown(text: str) -> str:
    """The text as an error may show it: quoted, in plain characters, cut to 80."""
    quoted = ascii(text[:80])
    return quoted if len(text) <= 80 else f"{quoted}…"


def checked_run_id(run_id: str) -> str:
    """The id, if it is the text of a UUID in lower case.

    Raises:
        FileRefused: it is not.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise FileRefused(f"run id {shown(run_id)}: expected the text of a UUID")
    return run_id


def is_file_id(text: str) -> bool:
    """Whether a stager could have made this id."""
    return _FILE_ID.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether this is a SHA-256 in hex."""
    return _ADDRESS.fullmatch(text) is not None


def checked_media_type(media_type: str) -> str:
    """The media type, if it is 1 to 255 printable ASCII characters.

    Raises:
        FileRefused: it is not.
    """
    if not _MEDIA_TYPE.fullmatch(media_type) or len(media_type) > MAX_MEDIA_TYPE:
        raise FileRefused(f"media type {shown(media_type)}: expected 1 to {MAX_MEDIA_TYPE} printable ASCII characters")
    return media_type
