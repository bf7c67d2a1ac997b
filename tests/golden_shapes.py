"""What old logs depend on, written down: the shapes of facts, and what a log adds up to."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from executus.events import FACTS, Event, idempotency_key
from executus.projections import Checkpoint, outstanding


def shapes() -> dict[str, Any]:
    """Tags with their schema versions and fields, and the fields of every value in them."""
    structs = [struct for struct, _ in FACTS.values()]
    schemas, components = msgspec.json.schema_components(structs, ref_template="{name}")
    names = [schema["$ref"] for schema in schemas]
    tags = {tag: {"schema": FACTS[tag][1], **_fields(components[name])} for tag, name in zip(FACTS, names, strict=True)}
    values = {name: _fields(schema) for name, schema in components.items() if name not in names}
    return {"tags": tags, "values": values}


def _fields(schema: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", [])
    fields = {
        name: {key: what for key, what in field.items() if key not in ("description", "default")}
        for name, field in schema["properties"].items()
    }
    return {"required": sorted(required), "fields": fields}


def broken_by(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why logs written under the shapes `old` cannot be read under `new`, a sentence each."""
    problems: list[str] = []
    for tag, was in old["tags"].items():
        now = new["tags"].get(tag)
        if now is None:
            problems.append(f"tag {tag!r} is gone, and logs have it: a tag is for ever")
        elif now["schema"] == was["schema"]:
            problems += _broken_fields(f"fact {tag!r}", was, now)
        elif now["schema"] < was["schema"]:
            problems.append(f"fact {tag!r} went back from schema {was['schema']} to {now['schema']}")
    for name, was in old["values"].items():
        now = new["values"].get(name)
        if now is None:
            problems.append(f"value {name} is gone, and facts in logs hold it")
        else:
            problems += _broken_fields(f"value {name}", was, now)
    return problems


def _broken_fields(where: str, was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    problems = [
        f"{where} has a new field {name!r} without a default: old logs lack it"
        for name in now["required"]
        if name not in was["required"]
    ]
    for name, kind in was["fields"].items():
        if name not in now["fields"]:
            problems.append(f"{where} has lost its field {name!r}: keep it, or raise the schema and add an upcast")
        elif not _holds(now["fields"][name], kind):
            problems.append(f"{where} has another type for {name!r}: keep it, or raise the schema and add an upcast")
    return problems


def _holds(now: Any, was: Any) -> bool:
    """Whether a field of type `now` takes everything that one of type `was` took: choices may be added."""
    if isinstance(now, dict) and isinstance(was, dict):
        return now.keys() == was.keys() and all(
            set(was[key]) <= set(now[key]) if key == "enum" else _holds(now[key], was[key])
            for key in was
            if key != "discriminator"  # it repeats what the choices say
        )
    if isinstance(now, list) and isinstance(was, list):
        return all(any(_holds(one, other) for one in now) for other in was)
    return bool(now == was)


def told_of_run(events: list[Event], checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything a reader learns from a run's log, as JSON."""
    state = checkpoint.state
    told = {
        "events": [
            {
                "version": event.version,
                "position": event.position,
                "tag": event.tag,
                "at_us": event.at_us,
                "elapsed_ms": event.elapsed_ms,
                "cause": event.cause,
                "epoch": event.epoch,
                "hash": event.hash.hex(),
                "fact": _whole(event.fact),
            }
            for event in events
        ],
        "state": _whole(state),
        "messages": [_whole(message) for message in checkpoint.transcript.messages],
        "version": checkpoint.version,
        "owed": [one.key for one in outstanding(state)],
        "keys": {call.call: idempotency_key(state.run_id, call.call) for call in state.open_calls},
    }
    return _shortened(msgspec.json.decode(msgspec.json.encode(told)))


def _whole(value: Any) -> Any:
    """A struct with all its fields, also those that stand at their default."""
    if isinstance(value, msgspec.Struct):
        fields = {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
        tag = value.__struct_config__.tag
        return {"type": tag, **fields} if tag else fields
    if isinstance(value, (list, tuple)):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _shortened(told: Any) -> Any:
    """Long texts by head and length, so that the file can be read by people."""
    if isinstance(told, dict):
        return {key: _shortened(one) for key, one in told.items()}
    if isinstance(told, list):
        return [_shortened(one) for one in told]
    if isinstance(told, str) and len(told) > 500:
        return f"{told[:60]}… ({len(told)} characters)"
    return told


def differences(was: Any, now: Any, where: str = "") -> list[str]:
    """Where `now` says something else than `was`. New fields are no difference."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            found
            for key, value in was.items()
            for found in (
                differences(value, now[key], f"{where}.{key}") if key in now else [f"{where}.{key} is missing"]
            )
        ]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [
            found
            for index, pair in enumerate(zip(was, now, strict=True))
            for found in differences(*pair, f"{where}[{index}]")
        ]
    return [] if was == now else [f"{where}: was {was!r}, is {now!r}"]
