"""Features on disk, so that a view that was encoded once is never encoded again: LMDB, many readers, crash-safe.

A key is (backbone, view, feature). The backbone is named by the hash of its weights, its shape and how it computes
(`agent.backbone.FrozenBackbone.identity`), the view by `view_digest`: the hash of the point map that the encoder
would read. So a changed scene, pose, camera, frame, depth range or simulator is another key without anybody having
to say so, and a wrapper that adds noise to point maps never gets the features of clean ones.

What LMDB (lmdb.readthedocs.io) promises and what is used of it: readers never wait and never see half a write; one
process writes at a time; a transaction is on the disk whole or not at all, whatever is killed when. Values carry a
checksum, which LMDB's do not. The folder must not lie on a network file system.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poma3d.errors import FileError, SettingError

FORMAT = b"pomagym.features/1"
"""What a cache says it is; another version is refused."""
SIZE_LIMIT = 2 << 30
"""Default size limit, bytes: a million ``cls`` or forty thousand ``patch_tokens`` of the encoder ``mini``."""

_PENDING = 256
"""Views gathered before they are written: one transaction waits for the disk once."""
_PENDING_BYTES = 16 << 20
_MOST_READERS = 1024
_PROCESSES = (
    "start the processes by spawn or forkserver, as in AsyncVectorEnv(..., context='spawn'), or encode in their parent"
    " (EncodedVector, EncodedVecEnv)"
)
_REMEDY = "delete the folder, the features will be computed again"


@dataclass
class CacheStatistics:
    """What a cache did since it was opened by this process."""

    hits: int = 0
    """Views found."""
    misses: int = 0
    """Views not found."""
    stored: int = 0
    """Views taken to be written; where they do not fit, their features are among `refused` as well."""
    refused: int = 0
    """Features not stored, because the cache was full or the disk was."""

    @property
    def hit_rate(self) -> float:
        """Share of the views asked for that were found; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The counts and the rate as plain values, for results and logs."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "hit_rate": self.hit_rate,
            "stored": self.stored,
            "refused": self.refused,
        }


class FeatureCache:
    """Features of views in a folder. One object a folder and process; training and evaluation share it.

    When it is full, features of other backbones make room; when there are none left, nothing more is stored and
    the refusals are counted. What is kept are then the earliest views, among them every episode's first: under a
    data set that is run through again and again, dropping the oldest would drop each view shortly before it is
    needed. A full disk ends the storing likewise. Neither ends a run.

    Features are gathered and written every few hundred views, by `flush` and by `close`; a process that is killed
    loses those not yet written and nothing else.

    Args:
        path: the folder, made where it is absent.
        size_limit_bytes: most bytes of the features with their index.
        read_only: look up and never store, as for a folder that others share.

    Raises:
        FileError: the folder holds something else, another version, or damaged data, or cannot be written.
        SettingError: a limit below 1 MiB, or this process has the folder open already.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, size_limit_bytes: int = SIZE_LIMIT, read_only: bool = False
    ) -> None:
        if (
            isinstance(size_limit_bytes, bool)
            or not isinstance(size_limit_bytes, int)
            or size_limit_bytes < 1 << 20
        ):
            raise SettingError(f"a feature cache needs at least {1 << 20} bytes, found {size_limit_bytes!r}")
        self.path = Path(path)
        self.size_limit_bytes = size_limit_bytes
        self.read_only = read_only
        self.statistics = CacheStatistics()
        """What it did since it was opened."""
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        self._full = read_only
        self._open()

    def get(
        self, backbone: bytes, views: Sequence[bytes], shapes: Mapping[str, tuple[int, ...]]
    ) -> list[dict[str, np.ndarray] | None]:
        """Look views up.

        Args:
            backbone: `agent.backbone.FrozenBackbone.identity`.
            views: their digests (`view_digest`).
            shapes: name and shape of the features wanted.

        Returns:
            For each view its features, float32 and writable, or None where one of them is not there.

        Raises:
            FileError: what is stored is damaged.
        """
        found = []
        with self._transaction() as (transaction, table):
            for view in views:
                features = {}
                for name, shape in shapes.items():
                    key = _key(backbone, view, name)
                    stored = self._pending.get(key) or transaction.get(key, db=table)
                    if stored is None:
                        break
                    features[name] = self._unpacked(stored, shape)
                found.append(features if len(features) == len(shapes) else None)
        hits = sum(features is not None for features in found)
        self.statistics.hits += hits
        self.statistics.misses += len(found) - hits
        return found

    def put(self, backbone: bytes, views: Sequence[bytes], features: Mapping[str, np.ndarray]) -> None:
        """Store the features (N, ...) of N views; views that are there already stay as they are."""
        if self._full:
            self.statistics.refused += 0 if self.read_only else len(views) * len(features)
            return
        for name, rows in features.items():
            for view, row in zip(views, rows, strict=True):
                packed = _packed(row)
                self._pending[_key(backbone, view, name)] = packed
                self._pending_bytes += len(packed)
        self.statistics.stored += len(views)
        if len(self._pending) >= _PENDING * len(features) or self._pending_bytes >= _PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered.

        Raises:
            FileError: what is stored is damaged.
        """
        import lmdb

        if not self._pending:
            return
        pending, self._pending, self._pending_bytes = self._pending, {}, 0
        try:
            with self._transaction(write=True) as (transaction, table):
                refused = self._store(transaction, table, pending)
        except (lmdb.MapFullError, lmdb.DiskError):  # a transaction that does not fit leaves no trace
            refused = len(pending)
        self.statistics.refused += refused
        self._full = self._full or refused > 0

    def close(self) -> None:
        """Write what was gathered and give the folder back. May be called twice."""
        if self._environment is None:
            return
        try:
            if os.getpid() == self._process:
                self.flush()
        finally:
            self._give_up()

    @property
    def used_bytes(self) -> int:
        """Bytes of the features on disk with their index; pages that were freed do not count."""
        with self._transaction() as (transaction, table):
            return _live_bytes(transaction, table)

    def __len__(self) -> int:
        """Features on disk, of all backbones."""
        with self._transaction() as (transaction, table):
            return transaction.stat(table)["entries"]

    def __enter__(self) -> FeatureCache:
        """Nothing needs to be done; the block's end closes the cache."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was gathered and give the folder back."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the folder for itself."""
        return _opened, (str(self.path), self.size_limit_bytes, self.read_only)

    def _open(self) -> None:
        import lmdb

        self._environment: Any = None
        self._process = os.getpid()
        try:
            if not self.read_only:
                self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_strangers()
            self._environment = lmdb.open(
                os.fspath(self.path),
                # The limit is kept by counting; beyond it room for the index, for what is freed late because
                # somebody still reads it, and for the copies that a deletion writes.
                map_size=self.size_limit_bytes + max(self.size_limit_bytes // 2, 64 << 20),
                max_dbs=2,
                max_readers=_MOST_READERS,
                readonly=self.read_only,
                create=not self.read_only,
                metasync=False,  # a power cut may cost the last transaction, never the file
                readahead=False,
            )
            self._environment.reader_check()  # the places of readers that were killed
            self._prepare()
        except lmdb.Error as error:
            self._give_up()
            if "already open" in str(error):
                raise SettingError(
                    f"{self.path}: this process has that feature cache open already, or was forked from one that has;"
                    f" share the one object, or {_PROCESSES}"
                ) from error
            raise FileError(
                self.path, f"is no feature cache that can be used ({error}); {_REMEDY}"
            ) from error
        except OSError as error:
            self._give_up()
            raise FileError(self.path, f"cannot be opened as a feature cache ({error.strerror})") from error
        except FileError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None and os.getpid() == self._process:  # else it is our parent's
            environment.close()

    def _refuse_strangers(self) -> None:
        """Raise where the folder holds files of somebody else, or is to be read and is not there."""
        names = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        if self.read_only and "data.mdb" not in names:
            raise FileError(self.path, "holds no feature cache to read")
        if names and "data.mdb" not in names and names != {"lock.mdb"}:
            raise FileError(
                self.path,
                f"is not empty and no feature cache (it holds {min(names)!r}); choose another folder",
            )

    def _prepare(self) -> None:
        """Check or write the format, and make sure that every page that is spoken of can be touched."""
        import lmdb

        environment, about = self._environment, b"format"
        data = self.path / "data.mdb"
        if self.read_only:
            if data.stat().st_size < _extent(environment):
                raise FileError(self.path, f"is damaged (data.mdb is cut short); {_REMEDY}")
        else:
            with environment.begin(write=True):  # nobody else writes meanwhile
                # Memory behind the end of a file cannot be read, not even to find that nothing is there: the
                # system ends the process. As zeros it can, and they are found to be no page.
                if data.stat().st_size < _extent(environment):
                    os.truncate(data, _extent(environment))
        with environment.begin() as transaction:
            fresh = transaction.stat()["entries"] == 0
        if fresh and not self.read_only:
            meta = environment.open_db(b"about")
            self._table = environment.open_db(b"features")
            with environment.begin(write=True, db=meta) as transaction:
                transaction.put(about, FORMAT, overwrite=False)
        else:
            try:
                meta = environment.open_db(b"about", create=False)
                with environment.begin(db=meta) as transaction:
                    found = transaction.get(about)
            except lmdb.NotFoundError:
                found = None
            if found != FORMAT:
                said = "no version of ours" if found is None else found.decode(errors="replace")
                raise FileError(self.path, f"holds {said}, expected {FORMAT.decode()}; {_REMEDY}")
            self._table = environment.open_db(b"features", create=False)

    @contextlib.contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[tuple[Any, Any]]:
        """A transaction and the table; LMDB's complaints about damage become ours."""
        import lmdb

        if self._environment is None:
            raise SettingError(f"{self.path}: this feature cache was closed")
        if os.getpid() != self._process:
            raise SettingError(
                f"{self.path}: this feature cache was opened before the process was forked, which LMDB does not"
                f" survive; {_PROCESSES}"
            )
        try:
            try:
                transaction = self._environment.begin(write=write)
            except lmdb.MapResizedError:  # another process has a larger limit and has used it
                self._environment.set_mapsize(0)
                transaction = self._environment.begin(write=write)
            with transaction:
                yield transaction, self._table
        except (lmdb.MapFullError, lmdb.DiskError):
            raise
        except lmdb.Error as error:
            raise FileError(self.path, f"is damaged ({error}); {_REMEDY}") from error

    def _store(self, transaction: Any, table: Any, pending: Mapping[bytes, bytes]) -> int:
        """Put what fits; returns how many features did not."""
        evict = True
        for number, (key, packed) in enumerate(pending.items()):
            while _live_bytes(transaction, table) + 2 * len(packed) > self.size_limit_bytes:
                evict = evict and self._evict(transaction, table, ours=key[:_DIGEST])
                if not evict:
                    return len(pending) - number
            transaction.put(key, packed, db=table, overwrite=False)
        return 0

    def _evict(self, transaction: Any, table: Any, *, ours: bytes) -> bool:
        """Delete features of other backbones, a tenth of the limit at a time; whether there were any."""
        enough = _live_bytes(transaction, table) - self.size_limit_bytes // 10
        gone = False
        with transaction.cursor(db=table) as cursor:
            there = cursor.first()
            while there and _live_bytes(transaction, table) > enough:
                if bytes(cursor.key()[:_DIGEST]) == ours:
                    there = cursor.set_range(ours + b"\xff" * (_DIGEST + 1))
                    continue
                there = cursor.delete() and bool(cursor.key())
                gone = True
        return gone

    def _unpacked(self, stored: bytes, shape: tuple[int, ...]) -> np.ndarray:
        body = memoryview(stored)[4:]
        expected = 4 * int(np.prod(shape))
        if len(body) != expected or zlib.crc32(body).to_bytes(4, "little") != stored[:4]:
            raise FileError(self.path, f"is damaged (a feature's checksum does not fit); {_REMEDY}")
        return np.frombuffer(body, "<f4").astype(np.float32).reshape(shape)  # (bytes / 4,) -> shape


_DIGEST = 16
"""Bytes of a digest: no two views of any number that fits on a disk share 128 bits by chance."""


def view_digest(point_map: np.ndarray, valid: np.ndarray) -> bytes:
    """What names a view in the cache (16 bytes): a hash of its points (H, W, 3) and validity (H, W)."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    digest.update(f"{point_map.shape} {point_map.dtype}".encode())
    digest.update(np.ascontiguousarray(point_map).data)
    digest.update(np.ascontiguousarray(valid).data)
    return digest.digest()


def _key(backbone: bytes, view: bytes, name: str) -> bytes:
    return backbone[:_DIGEST] + view[:_DIGEST] + name.encode()


def _packed(row: np.ndarray) -> bytes:
    body = np.ascontiguousarray(row, "<f4").tobytes()
    return zlib.crc32(body).to_bytes(4, "little") + body


def _live_bytes(transaction: Any, table: Any) -> int:
    stat = transaction.stat(table)
    return (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]


def _extent(environment: Any) -> int:
    """Bytes that the file has when every page in use is there."""
    return (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]


def _opened(path: str, size_limit_bytes: int, read_only: bool) -> FeatureCache:
    return FeatureCache(path, size_limit_bytes=size_limit_bytes, read_only=read_only)
