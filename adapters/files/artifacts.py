"""Where what runs make is kept, by the SHA-256 of the content: a directory, or memory."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from ...errors import FileRefused
from . import folders
from .names import is_address, shown

MAX_FILE_BYTES = 256 * 2**20
MAX_BYTES = 16 * 2**30
MAX_FILES = 200_000
MAX_MEMORY_BYTES = 256 * 2**20


class DirectoryArtifacts:
    """`ArtifactStore` in one directory: a file for each content, named by its hash.

    root: made with mode 0700 if missing, else it must be this user's and closed to others. max_file_bytes: of one
    artifact; max_bytes, max_files: of all, counted when this object is made and as it stores. A returned address
    survives a power cut; a reader sees a whole artifact or none; a damaged one is refused, and healed when it is stored
    again. Thread-safe; several processes may share a root, each counting what it stores itself.

    Raises:
        ValueError: a limit below 1, or `root` is a link, no folder, or open to others.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
    ) -> None:
        self._room = _Room(max_file_bytes, max_bytes, max_files)
        # Whoever stores the same content takes turns, so that it is written and counted once.
        self._turns = tuple(threading.Lock() for _ in range(16))
        self._root = Path(root).absolute()
        with folders.opened_root(self._root, private=True) as root_folder:
            with folders.held_if_idle(root_folder) as idle:
                # Alone, whatever is unfinished was left by a crash.
                for name in folders.names_in(root_folder) if idle else ():
                    if folders.is_temporary(name):
                        folders.remove(root_folder, name)
            for name in filter(is_address, folders.names_in(root_folder)):
                self._room.count(_size_of(root_folder, name) or 0)

    def __repr__(self) -> str:
        return f"DirectoryArtifacts({str(self._root)!r})"

    def put(self, content: bytes) -> str:
        """Store; returns the address (SHA-256, hex) when it is safe on disk. The same content twice is stored once.

        Raises:
            FileRefused: over a limit.
            OSError: the disk failed or is full; nothing is left.
        """
        address = _address_of(content)
        with (
            self._turn(address),
            folders.opened_root(self._root, private=True) as root,
            folders.held(root, shared=True),
        ):
            if not _holds(root, address):
                self._room.take(len(content))
                try:
                    self._store(root, address, content)
                except BaseException:
                    self._room.give_back(len(content))
                    raise
            # Also for what is there already: whoever put it may have died just before this.
            folders.sync(root)
        return address

    def _store(self, root: int, address: str, content: bytes) -> None:
        temporary = folders.temporary_name()
        folders.write_new(root, temporary, content)
        try:
            damaged = _size_of(root, address)
            os.rename(temporary, address, src_dir_fd=root, dst_dir_fd=root)
        except BaseException:
            folders.remove(root, temporary)
            raise
        if damaged is not None:
            self._room.give_back(damaged)

    def _turn(self, address: str) -> threading.Lock:
        return self._turns[int(address[0], 16)]

    def get(self, sha256: str) -> bytes:
        """The content, proved by its hash.

        Raises:
            FileRefused: there is none, or it is damaged.
        """
        if not is_address(sha256):
            raise FileRefused(f"artifact {shown(sha256)}: expected a SHA-256 in hex")
        with folders.opened_root(self._root, private=True) as root:
            try:
                content = folders.read_plain(root, sha256)
            except FileNotFoundError:
                raise FileRefused(f"no artifact {sha256}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FileRefused(f"artifact {sha256} is damaged")
        return content

    def forget(self, sha256: str) -> None:
        """Remove an artifact, whichever runs made it; nothing happens if there is none.

        Raises:
            FileRefused: not an address.
        """
        if not is_address(sha256):
            raise FileRefused(f"artifact {shown(sha256)}: expected a SHA-256 in hex")
        with self._turn(sha256), folders.opened_root(self._root, private=True) as root:
            size = _size_of(root, sha256)
            if size is not None:
                os.unlink(sha256, dir_fd=root)
                self._room.give_back(size)
                folders.sync(root)


class MemoryArtifacts:
    """`ArtifactStore` in memory: artifacts live as long as this object, or until `forget`.

    max_bytes: of all artifacts together. Thread-safe.

    Raises:
        ValueError: a limit below 1.
    """

    def __init__(self, *, max_bytes: int = MAX_MEMORY_BYTES) -> None:
        self._room = _Room(max_bytes, max_bytes, MAX_FILES)
        self._contents: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, content: bytes) -> str:
        """Keep; returns the address (SHA-256, hex). The same content twice is kept once.

        Raises:
            FileRefused: over the limit.
        """
        address = _address_of(content)
        with self._lock:
            if address not in self._contents:
                self._room.take(len(content))
                self._contents[address] = content
        return address

    def get(self, sha256: str) -> bytes:
        """The content.

        Raises:
            FileRefused: there is none.
        """
        try:
            return self._contents[sha256]
        except KeyError:
            raise FileRefused(f"no artifact {shown(sha256)}") from None

    def forget(self, sha256: str) -> None:
        """Drop an artifact; nothing happens if there is none."""
        with self._lock:
            content = self._contents.pop(sha256, None)
            if content is not None:
                self._room.give_back(len(content))


class _Room:
    """How much is kept, and how much may be. Thread-safe."""

    def __init__(self, max_file_bytes: int, max_bytes: int, max_files: int) -> None:
        limits = {"max_file_bytes": max_file_bytes, "max_bytes": max_bytes, "max_files": max_files}
        for setting, limit in limits.items():
            if not isinstance(limit, int) or limit < 1:
                raise ValueError(f"{setting}: expected a whole number above 0, got {limit!r}")
        self._max_file_bytes, self._max_bytes, self._max_files = max_file_bytes, max_bytes, max_files
        self._bytes = self._files = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count a new artifact, before it is written.

        Raises:
            FileRefused: there is no room for it.
        """
        if size > self._max_file_bytes:
            raise FileRefused(f"artifact of {size} bytes: over the limit of {self._max_file_bytes} (max_file_bytes)")
        with self._lock:
            if self._bytes + size > self._max_bytes:
                kept = f"{self._bytes} bytes are kept, the limit is {self._max_bytes} (max_bytes)"
                raise FileRefused(f"artifact of {size} bytes: {kept}")
            if self._files >= self._max_files:
                raise FileRefused(f"artifact: {self._files} are kept, the limit (max_files)")
            self._bytes, self._files = self._bytes + size, self._files + 1

    def count(self, size: int) -> None:
        """Count an artifact that is there already, whatever the limits."""
        with self._lock:
            self._bytes, self._files = self._bytes + size, self._files + 1

    def give_back(self, size: int) -> None:
        """Count one artifact less."""
        with self._lock:
            self._bytes, self._files = self._bytes - size, self._files - 1


def _address_of(content: bytes) -> str:
    if not isinstance(content, bytes):
        raise TypeError(f"artifact: expected bytes, got {type(content).__name__}")
    return hashlib.sha256(content).hexdigest()


def _size_of(root: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=root, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _holds(root: int, address: str) -> bool:
    """Whether this content is there, whole."""
    try:
        return hashlib.sha256(folders.read_plain(root, address)).hexdigest() == address
    except (FileNotFoundError, FileRefused):
        return False
