"""The JSON that the commands that look back print; see `shapes`."""

from __future__ import annotations

from typing import Any

import msgspec

from ..projections import Grown
from ..projections.changes import Change
from ..projections.moments import Moment
from ..projections.writes import Write
from ..travel import Difference, Divergence, Found, Member
from .shapes import iso


def moment_shape(moment: Moment) -> dict[str, Any]:
    """A moment of a run."""
    return {
        "type": "moment",
        "run": moment.run_id,
        "version": moment.version,
        "position": moment.position,
        "tag": moment.tag,
        "at": iso(moment.at_us),
        "elapsed_s": moment.elapsed_ms / 1000,
        "lane": moment.lane,
        "importance": moment.importance,
        "title": moment.title,
        "step": moment.step,
        "call": moment.call,
        "wrong": moment.wrong,
        "content": moment.content,
    }


def member_shape(member: Member) -> dict[str, Any]:
    """A run of a family, with those below it."""
    return {
        "run": member.run_id,
        "name": member.name,
        "kind": member.kind,
        "call": member.call,
        "version": member.version,
        "position": member.position,
        "status": member.status,
        "children": [member_shape(child) for child in member.children],
    }


def change_shape(change: Change) -> dict[str, Any]:
    """One step from the old to the new."""
    return {"op": change.op, "path": change.path, "before": change.before, "after": change.after}


def difference_shape(found: Difference) -> dict[str, Any]:
    """What changed between two versions of a run."""
    return {
        "type": "difference",
        "run": found.run_id,
        "from": found.m,
        "to": found.n,
        "patch": found.patch,
        "changes": [change_shape(change) for change in found.changes],
        "said": msgspec.to_builtins(found.said),
        "unsaid": msgspec.to_builtins(found.unsaid),
        "moments": [moment_shape(moment) for moment in found.moments],
    }


def divergence_shape(found: Divergence) -> dict[str, Any]:
    """Where two runs part."""
    return {
        "type": "divergence",
        "run_a": found.run_a,
        "run_b": found.run_b,
        "same": found.same,
        "source": found.source,
        "common": found.common,
        "given": [change_shape(change) for change in found.given],
        "alike": found.alike,
        "a": None if found.a is None else moment_shape(found.a),
        "b": None if found.b is None else moment_shape(found.b),
        "changes": [change_shape(change) for change in found.changes],
        "calls": found.calls,
        "call_a": msgspec.to_builtins(found.call_a),
        "call_b": msgspec.to_builtins(found.call_b),
    }


def is_wide(write: Write) -> bool:
    """Whether a list or an object was changed into another."""
    kinds = (tuple, list, dict, Grown, msgspec.Struct)
    return write.op == "replace" and isinstance(write.raw_before, kinds) and isinstance(write.raw_after, kinds)


def write_shape(run_id: str, path: str, write: Write) -> dict[str, Any]:
    """An event that changed what stands at a place. Of a list or object, what changed in it, else before and after."""
    wide = is_wide(write)
    return {
        "type": "write",
        "run": run_id,
        "path": path,
        "version": write.version,
        "position": write.position,
        "at": iso(write.at_us),
        "tag": write.tag,
        "by": write.by,
        "op": write.op,
        "before": None if wide else write.before,
        "after": None if wide else write.after,
        "changes": [change_shape(change) for change in write.changes] if wide else [],
        "title": write.title,
    }


def found_shape(found: Found) -> dict[str, Any]:
    """An event that a search found."""
    return {
        "type": "found",
        "position": found.position,
        "run": found.run_id,
        "version": found.version,
        "tag": found.tag,
        "at": iso(found.at_us),
        "where": found.where,
        "before": found.before,
        "hit": found.hit,
        "after": found.after,
    }
