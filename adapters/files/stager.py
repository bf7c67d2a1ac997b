"""Where attachments of runs are kept: a folder for each run on disk, or memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...errors import FileRefused
from . import folders
from .names import checked_media_type, checked_name, checked_run_id, is_file_id, same_name_key, shown

MAX_FILE_BYTES = 64 * 2**20
MAX_RUN_BYTES = 256 * 2**20
MAX_FILES = 64
MAX_MEMORY_BYTES = 512 * 2**20

_SIDECAR = ".json"


class StagedFile(msgspec.Struct, frozen=True):
    """What is known of an attachment besides its bytes. name: as it was given, in composed form; it opens nothing."""

    name: str
    media_type: str
    agent: str
    size: int
    sha256: str


class Quota(msgspec.Struct, frozen=True):
    """How much a run may bring with it."""

    max_file_bytes: int
    max_run_bytes: int
    max_files: int

    def __post_init__(self) -> None:
        for setting in self.__struct_fields__:
            if not isinstance(getattr(self, setting), int) or getattr(self, setting) < 1:
                raise ValueError(f"{setting}: expected a whole number above 0, got {getattr(self, setting)!r}")

    def place_for(self, file: StagedFile, kept: Mapping[str, StagedFile]) -> str | None:
        """The id of the same file if the run has it already, or None if there is room for it.

        Raises:
            FileRefused: over a limit, or the run has another file of this name.
        """
        for file_id, other in kept.items():
            if same_name_key(other.name) == same_name_key(file.name):
                if (other.name, other.media_type, other.sha256) == (file.name, file.media_type, file.sha256):
                    return file_id
                why = f"this run has another file {shown(other.name)} (case makes no difference)"
                raise FileRefused(f"file {shown(file.name)}: {why}")
        if len(kept) >= self.max_files:
            raise FileRefused(f"file {shown(file.name)}: the run has {len(kept)} files, the limit (max_files)")
        total = sum(other.size for other in kept.values()) + file.size
        if total > self.max_run_bytes:
            raise FileRefused(
                f"file {shown(file.name)}: the run's files would be {total} bytes, "
                f"over the limit of {self.max_run_bytes} (max_run_bytes)"
            )
        return None

    def described(self, agent: str, name: str, media_type: str, content: bytes) -> StagedFile:
        """The file as it would be kept.

        Raises:
            FileRefused: a bad name or media type, or too large.
        """
        if not isinstance(content, bytes):
            raise TypeError(f"content of {shown(name)}: expected bytes, got {type(content).__name__}")
        name, media_type = checked_name(name), checked_media_type(media_type)
        if len(content) > self.max_file_bytes:
            raise FileRefused(
                f"file {shown(name)}: {len(content)} bytes, over the limit of {self.max_file_bytes} (max_file_bytes)"
            )
        digest = hashlib.sha256(content).hexdigest()
        readable = agent.encode(errors="replace").decode()
        return StagedFile(name=name, media_type=media_type, agent=readable, size=len(content), sha256=digest)


class DirectoryStager:
    """`FileStager` on disk: in `root` a folder for each run, in it each attachment under an id that is made here.

    root: made with mode 0700 if missing, else it must be this user's and closed to others. max_file_bytes,
    max_run_bytes, max_files: limits of one file and of one run. A returned id survives a power cut. What a crash left
    unfinished is no file, and goes when the run stages again. The same file staged twice has one id; another file
    whose name differs at most in case is refused. Thread-safe; several processes may share a root.

    Raises:
        ValueError: a limit below 1, or `root` is a link, no folder, or open to others.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_run_bytes: int = MAX_RUN_BYTES,
        max_files: int = MAX_FILES,
    ) -> None:
        self._quota = Quota(max_file_bytes, max_run_bytes, max_files)
        self._root = Path(root).absolute()
        with folders.opened_root(self._root, private=True):
            pass

    def __repr__(self) -> str:
        return f"DirectoryStager({str(self._root)!r})"

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str:
        """Store an attachment; returns its file id when it is safe on disk.

        Raises:
            FileRefused: a bad name, over a limit, or the run's folder is not what we made.
            OSError: the disk failed or is full; nothing is left.
        """
        file = self._quota.described(agent, name, media_type, content)
        try:
            with (
                folders.opened_root(self._root, private=True) as root,
                folders.opened_folder(root, checked_run_id(run_id), create=True) as folder,
                folders.held(folder),
            ):
                kept = _kept(folder)
                file_id = self._quota.place_for(file, kept)
                if file_id is None:
                    file_id = _new_id(kept)
                    _store(folder, file_id, file, content)
                # Also for what is there already: whoever staged it may have died just before this.
                folders.sync(folder)
                return file_id
        except FileNotFoundError:
            raise FileRefused(f"run {run_id}: its folder was removed meanwhile") from None

    def open(self, run_id: str, file_id: str) -> bytes:
        """The attachment's content, proved by its hash.

        Raises:
            FileRefused: this run has no such file, or it is damaged.
        """
        missing = FileRefused(f"run {shown(run_id)} has no file {shown(file_id)}")
        if not is_file_id(file_id):
            raise missing
        try:
            with (
                folders.opened_root(self._root, private=True) as root,
                folders.opened_folder(root, checked_run_id(run_id)) as folder,
            ):
                file = _described_by(folder, file_id)
                content = folders.read_plain(folder, file_id)
        except FileNotFoundError:
            raise missing from None
        if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
            raise FileRefused(f"file {file_id}: its content is damaged")
        return content

    def forget(self, run_id: str) -> None:
        """Remove all attachments of a run; nothing happens if it has none."""
        name = checked_run_id(run_id)
        with folders.opened_root(self._root, private=True) as root:
            with (
                contextlib.suppress(FileNotFoundError),
                folders.opened_folder(root, name) as folder,
                folders.held(folder),
            ):
                shutil.rmtree(name, dir_fd=root)
            folders.sync(root)


def _new_id(kept: Mapping[str, StagedFile]) -> str:
    while (file_id := f"file-{secrets.token_hex(8)}") in kept:
        pass
    return file_id


def _store(folder: int, file_id: str, file: StagedFile, content: bytes) -> None:
    folders.write_new(folder, file_id, content)
    try:
        # The sidecar comes last: a file without one was not finished.
        folders.publish(folder, file_id + _SIDECAR, msgspec.json.encode(file))
    except BaseException:
        folders.remove(folder, file_id)
        raise


def _kept(folder: int) -> dict[str, StagedFile]:
    """The finished files of a run; removes what a crash left of others. Only for who holds the folder."""
    names = set(folders.names_in(folder))
    finished = [name for name in names if is_file_id(name) and name + _SIDECAR in names]
    for name in names:
        if folders.is_temporary(name) or (is_file_id(name) and name + _SIDECAR not in names):
            folders.remove(folder, name)
    return {name: _described_by(folder, name) for name in sorted(finished)}


def _described_by(folder: int, file_id: str) -> StagedFile:
    try:
        return msgspec.json.decode(folders.read_plain(folder, file_id + _SIDECAR), type=StagedFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FileRefused(f"file {file_id}: what is kept about it is damaged") from None


class MemoryStager:
    """`FileStager` in memory, for tests and short-lived hosts: files live as long as this object, or until `forget`.

    max_bytes: of all runs together; the other limits are those of `DirectoryStager`. Ids count up within a run, so that
    the same calls give the same ids. Thread-safe.

    Raises:
        ValueError: a limit below 1.
    """

    def __init__(
        self,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_run_bytes: int = MAX_RUN_BYTES,
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_MEMORY_BYTES,
    ) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes: expected a whole number above 0, got {max_bytes!r}")
        self._quota = Quota(max_file_bytes, max_run_bytes, max_files)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._runs: dict[str, dict[str, StagedFile]] = {}
        self._contents: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()

    def stage(self, run_id: str, agent: str, name: str, media_type: str, content: bytes) -> str:
        """Keep an attachment; returns its file id.

        Raises:
            FileRefused: a bad name, or over a limit.
        """
        file = self._quota.described(agent, name, media_type, content)
        run_id = checked_run_id(run_id)
        with self._lock:
            kept = self._runs.get(run_id, {})
            file_id = self._quota.place_for(file, kept)
            if file_id is None:
                if self._bytes + file.size > self._max_bytes:
                    raise FileRefused(
                        f"file {shown(name)}: {self._bytes} bytes are kept of all runs, near the limit of "
                        f"{self._max_bytes} (max_bytes); forget runs that are over"
                    )
                file_id = f"file-{len(kept):016x}"
                self._runs.setdefault(run_id, kept)[file_id] = file
                self._contents[run_id, file_id] = content
                self._bytes += file.size
        return file_id

    def open(self, run_id: str, file_id: str) -> bytes:
        """The attachment's content.

        Raises:
            FileRefused: this run has no such file.
        """
        try:
            return self._contents[run_id, file_id]
        except KeyError:
            raise FileRefused(f"run {shown(run_id)} has no file {shown(file_id)}") from None

    def forget(self, run_id: str) -> None:
        """Drop all attachments of a run; nothing happens if it has none."""
        with self._lock:
            for file_id, file in self._runs.pop(run_id, {}).items():
                del self._contents[run_id, file_id]
                self._bytes -= file.size
