"""Delivery into a directory: a folder for each parcel, that appears whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ...errors import DeliveryRefused, FileRefused
from ...events import ArtifactStored
from ...ports import ArtifactStore, Parcel
from ..files import folders
from ..files.names import checked_name, checked_run_id, is_address, same_name_key
from .parcels import content_of, described, described_artifact

OUTPUT = "output.txt"
MANIFEST = "manifest.json"
ARTIFACTS = "artifacts"


class DirectoryDelivery:
    """`Delivery` into `root`: for each key one folder with `output.txt`, `manifest.json` and the folder `artifacts`.

    The folder is named after the run and the hash of the key; its path is the receipt. It is written under a
    hidden name, put on disk and renamed, so a receiver that takes every folder it sees never sees half a
    parcel. The same key again changes nothing and gives the same receipt, as long as the folder is there. Artifacts
    have the names they were given; a name that cannot be a file, or is taken, becomes the content's hash, and the
    manifest says which file is which. Folders are 0700, files 0600. Thread-safe.

    root: made with mode 0700 if missing. What a crash left unfinished is removed when this object is made.

    Raises:
        ValueError: `root` is a link or no folder.
        OSError: it cannot be made.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).absolute()
        with (
            folders.opened_root(self._root, private=False) as root_folder,
            folders.held_if_idle(root_folder) as idle,
        ):
            # Alone, whatever is unfinished was left by a crash.
            for name in folders.names_in(root_folder) if idle else ():
                if folders.is_temporary(name):
                    shutil.rmtree(name, ignore_errors=True, dir_fd=root_folder)

    def __repr__(self) -> str:
        return f"DirectoryDelivery({str(self._root)!r})"

    def deliver(self, parcel: Parcel, artifacts: ArtifactStore) -> str:
        """Write the parcel's folder; returns its path when it is safe on disk.

        Raises:
            DeliveryRefused: an artifact is lost, or something else has the folder's name.
            OSError: the disk failed or is full; a later attempt may do.
        """
        name = _folder_name(parcel)
        with folders.opened_root(self._root, private=False) as root, folders.held(root, shared=True):
            if not _is_delivered(root, name):
                temporary = folders.temporary_name()
                os.mkdir(temporary, 0o700, dir_fd=root)
                try:
                    with folders.opened_folder(root, temporary) as folder:
                        _write(folder, parcel, artifacts)
                    _rename(root, temporary, name)
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True, dir_fd=root)
                    raise
            # Also for a folder that is there already: who made it may have died just before this.
            folders.sync(root)
        return str(self._root / name)


def _folder_name(parcel: Parcel) -> str:
    try:
        run = checked_run_id(parcel.info.run_id)
    except FileRefused as error:
        raise DeliveryRefused(str(error)) from None
    return f"{run}-{hashlib.sha256(parcel.key.encode()).hexdigest()[:16]}"


def _is_delivered(root: int, name: str) -> bool:
    """Whether the folder is there.

    Raises:
        DeliveryRefused: something else has its name.
    """
    try:
        found = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise DeliveryRefused(f"{name}: something that is no folder has this name")
    return True


def _rename(root: int, temporary: str, name: str) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=root, dst_dir_fd=root)
    except OSError:
        # Another attempt at the same key was faster: a folder with files in it is never replaced.
        if not _is_delivered(root, name):
            raise
        shutil.rmtree(temporary, dir_fd=root)


def _write(folder: int, parcel: Parcel, artifacts: ArtifactStore) -> None:
    output = parcel.output.encode(errors="replace")
    folders.write_new(folder, OUTPUT, output)
    files = list(_files_of(parcel.artifacts))
    contents: dict[str, str] = {}
    if files:
        with folders.opened_folder(folder, ARTIFACTS, create=True) as inner:
            for name, artifact in dict(files).items():
                content = content_of(artifact, artifacts)
                folders.write_new(inner, name, content)
                contents[name] = hashlib.sha256(content).hexdigest()
            folders.sync(inner)
    manifest = described(parcel) | {
        "output": {"path": OUTPUT, "size": len(output), "sha256": hashlib.sha256(output).hexdigest()},
        "artifacts": [
            described_artifact(artifact, contents[name]) | {"path": f"{ARTIFACTS}/{name}"} for name, artifact in files
        ],
    }
    folders.write_new(folder, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    folders.sync(folder)


def _files_of(stored: Iterable[ArtifactStored]) -> Iterable[tuple[str, ArtifactStored]]:
    """Each artifact with the name of its file; the same content under the same name is one file."""
    taken: dict[str, tuple[str, str]] = {}
    for artifact in stored:
        if not is_address(artifact.sha256):
            raise DeliveryRefused(f"artifact {artifact.name!a} has no address")
        for name in _names_for(artifact):
            owner = taken.setdefault(same_name_key(name), (name, artifact.sha256))
            if owner == (name, artifact.sha256):
                yield name, artifact
                break


def _names_for(artifact: ArtifactStored) -> Iterable[str]:
    try:
        yield checked_name(artifact.name)
    except FileRefused:
        pass
    yield artifact.sha256
    yield from (f"{number}-{artifact.sha256}" for number in itertools.count(1))
