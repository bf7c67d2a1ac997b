"""`executus keys`."""

from __future__ import annotations

from pathlib import Path

import click

from ..adapters.keys.sources import KeyFile, encryption_of, key_of_environment
from ..errors import KeyRefused
from ..journal import SqliteJournal, open_journal, read_journal
from ..journal.keys_outside import back_up
from .program import OK, Misuse, Unopened
from .shapes import print_json
from .words import many


def make_key(path: Path, *, as_json: bool) -> int:
    """Make a key file; returns the exit code."""
    if path.exists():
        raise Misuse(f"{path} is there already, and nothing was changed; name another file")
    key = KeyFile(path, create=True)
    if as_json:
        print_json({"type": "keys", "created": str(path), "key": key.key_id})
    else:
        click.echo(f"{path}: key {key.key_id}; keep a copy of it apart from the journal's backups")
    return OK


def show_keys(db: Path, *, as_json: bool) -> int:
    """Tell which key a journal is sealed with; returns the exit code."""
    if not db.exists():
        raise Unopened(f"there is no journal at {db}; name one with --db")
    journal = read_journal(db)
    try:
        ring = None if journal.keyring is None else journal.keyring.standing()
    finally:
        journal.close()
    if as_json:
        shape: dict[str, object] = {"type": "keys", "sealed": ring is not None}
        if ring is not None:
            shape |= {"key": ring.source, "runs": ring.here, "destroyed": ring.gone}
        print_json(shape)
    elif ring is None:
        click.echo(f"{db} is not sealed: it has no keys file")
    else:
        click.echo(f"{db} is sealed with key {ring.source or '(unnamed)'}")
        click.echo(
            f"{many(ring.here, 'run')} can be opened with it, the keys of {many(ring.gone, 'run')} are destroyed"
        )
    return OK


def rotate_keys(db: Path, new: Path, *, as_json: bool) -> int:
    """Seal the journal's keys with the key in the file `new`; returns the exit code."""
    if not db.exists():
        raise Unopened(f"there is no journal at {db}; name one with --db")
    present = key_of_environment()
    if present is None:
        raise KeyRefused("the journal's present key is needed: set EXECUTUS_KEY or EXECUTUS_KEY_FILE")
    key = KeyFile(new)
    journal = open_journal(db, encryption=encryption_of(present))
    try:
        assert isinstance(journal, SqliteJournal)
        assert journal.keyring is not None
        count = journal.keyring.rotate(encryption_of(key))
    finally:
        journal.close()
    if as_json:
        print_json({"type": "keys", "sealed": True, "key": key.key_id, "runs": count})
    else:
        click.echo(f"the keys of {many(count, 'run')} are now sealed with key {key.key_id}; {db} opens with it alone")
    return OK


def back_up_keys(db: Path, to: Path, *, as_json: bool) -> int:
    """Copy the keys file; returns the exit code."""
    if not db.exists():
        raise Unopened(f"there is no journal at {db}; name one with --db")
    if to.exists():
        raise Misuse(f"{to} is there already, and nothing was changed; name another file")
    back_up(str(db.resolve()), str(to.absolute()))
    if as_json:
        print_json({"type": "keys", "backup": str(to)})
    else:
        click.echo(
            f"{to}: whoever has it and the host's key can read what is erased from now on; do not keep it for long"
        )
    return OK
