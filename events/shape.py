"""The settings that every fact shares."""

from __future__ import annotations

import msgspec


class FactStruct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Settings shared by every fact: frozen, keyword only, map encoding, defaults left out."""
