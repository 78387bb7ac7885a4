"""The feature cache: exact, whole after a kill, limited, readable by many, and damage has a name."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from agent.feature_cache import FeatureCache, view_digest
from poma3d.errors import FileError, SettingError

ONE, TWO = b"1" * 16, b"2" * 16
SHAPES = {"cls": (8,), "patch_tokens": (4, 3)}


def digests(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(start, start + count)]


def features(views: list[bytes], width: int = 8) -> dict[str, np.ndarray]:
    """Features that tell which view they belong to."""
    number = np.array([int.from_bytes(view, "big") for view in views], np.float32)
    tokens = np.broadcast_to(-number[:, None, None], (len(views), 4, 3))
    return {"cls": np.repeat(number[:, None], width, 1), "patch_tokens": tokens.copy()}


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    views = digests(5)
    draws = np.random.default_rng(0)
    stored = {name: draws.normal(size=(5, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    with FeatureCache(tmp_path / "cache") as cache:
        assert cache.get(ONE, views, SHAPES) == [None] * 5
        cache.put(ONE, views, stored)
        before = cache.get(ONE, views, SHAPES)
        cache.flush()
        after = cache.get(ONE, views, SHAPES)
        assert cache.get(TWO, views, SHAPES) == [None] * 5, "another backbone's"
        assert cache.statistics.as_dict() == {
            "hits": 10,
            "misses": 10,
            "hit_rate": 0.5,
            "stored": 5,
            "refused": 0,
        }
        assert len(cache) == 10
    with FeatureCache(tmp_path / "cache", read_only=True) as cache:
        later = cache.get(ONE, views, SHAPES)
        cache.put(ONE, digests(1, 50), features(digests(1)))
        cache.flush()
        assert cache.get(ONE, digests(1, 50), SHAPES) == [None]
    for found in (before, after, later):
        for number, one in enumerate(found):
            assert one is not None
            for name in SHAPES:
                np.testing.assert_array_equal(one[name], stored[name][number])
                assert one[name].dtype == np.float32
                assert one[name].flags.writeable


def test_one_output_serves_another(tmp_path: Path) -> None:
    views = digests(2)
    with FeatureCache(tmp_path) as cache:
        cache.put(ONE, views, {"cls": features(views)["cls"]})
        assert cache.get(ONE, views, SHAPES) == [None, None], "no tokens yet"
        assert all(cache.get(ONE, views, {"cls": (8,)}))


def test_a_view_is_its_points() -> None:
    points, valid = np.ones((4, 4, 3), np.float32), np.ones((4, 4), bool)
    digest = view_digest(points, valid)
    assert digest == view_digest(points.copy(), valid.copy())
    moved, hidden = points.copy(), valid.copy()
    moved[3, 3, 2] = np.nextafter(np.float32(1), np.float32(2))
    hidden[0, 0] = False
    others = [(moved, valid), (points, hidden), (points.reshape(2, 8, 3), valid.reshape(2, 8))]
    assert len({digest, *(view_digest(*other) for other in others)}) == 4
    assert view_digest(points[::-1], valid) == digest, "laid out otherwise, the same numbers"


def fill(cache: FeatureCache, backbone: bytes) -> None:
    """4000 features of 1 KiB, in pieces."""
    for start in range(0, 4000, 100):
        views = digests(100, start)
        cache.put(backbone, views, {"cls": features(views, 256)["cls"]})
    cache.flush()


def test_a_full_cache_keeps_what_it_has(tmp_path: Path) -> None:
    limit = 1 << 20
    with FeatureCache(tmp_path, size_limit_bytes=limit) as cache:
        fill(cache, ONE)
        assert cache.used_bytes <= limit
        assert cache.statistics.refused > 0
        assert cache.statistics.refused + len(cache) == 4000
        kept = len(cache)
        assert kept > 0.4 * limit / 1024, "pages of a tree are two thirds full"
        first = cache.get(ONE, digests(100), {"cls": (256,)})
        assert all(one is not None for one in first), "the earliest stay"
    assert (tmp_path / "data.mdb").stat().st_size <= limit * 1.5 + (64 << 20)
    with FeatureCache(tmp_path, size_limit_bytes=limit) as cache:
        fill(cache, TWO)
        assert cache.used_bytes <= limit
        assert all(cache.get(TWO, digests(100), {"cls": (256,)})), "another backbone's made room"
        ours = sum(one is not None for one in cache.get(TWO, digests(4000), {"cls": (256,)}))
        assert ours == len(cache) == pytest.approx(kept, rel=0.1)


def _store_until_killed(path: str, ready) -> None:
    cache = FeatureCache(path)
    start = 0
    while True:
        views = digests(64, start)
        cache.put(ONE, views, features(views))
        cache.flush()
        start += 64
        ready.value = start


def _read(path: str, count: int, answer) -> None:
    with FeatureCache(path) as cache:
        seen = 0
        for _ in range(30):
            for view, one in zip(digests(count), cache.get(ONE, digests(count), SHAPES), strict=True):
                if one is not None:
                    expected = features([view])
                    assert all(np.array_equal(one[name], expected[name][0]) for name in SHAPES)
                    seen += 1
        answer.put(seen)


def test_a_killed_writer_leaves_a_whole_cache_and_readers_never_see_half(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Value("q", 0), context.Queue()
    writer = context.Process(target=_store_until_killed, args=(str(tmp_path), ready), daemon=True)
    writer.start()
    while ready.value < 128:
        time.sleep(0.01)
        assert writer.is_alive()
    readers = [
        context.Process(target=_read, args=(str(tmp_path), 512, answers), daemon=True) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    assert all(answers.get(timeout=60) > 0 for _ in readers)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    with FeatureCache(tmp_path) as cache:
        views = digests(ready.value)
        for view, one in zip(views, cache.get(ONE, views, SHAPES), strict=True):
            assert one is not None
            np.testing.assert_array_equal(one["cls"], features([view])["cls"][0])
        cache.put(ONE, digests(1, 10**6), features(digests(1, 10**6)))
        cache.flush()  # nobody holds the lock


def test_strangers_and_other_versions_are_named(tmp_path: Path) -> None:
    import lmdb

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(FileError, match=r"thesis\.txt"):
        FeatureCache(tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "data.mdb").write_text("no database" * 1000)
    with pytest.raises(FileError, match="no feature cache"):
        FeatureCache(tmp_path / "text")
    with lmdb.open(str(tmp_path / "other"), max_dbs=2) as other, other.begin(write=True) as transaction:
        transaction.put(b"theirs", b"data")
    with pytest.raises(FileError, match="no version of ours"):
        FeatureCache(tmp_path / "other")
    with FeatureCache(tmp_path / "old"):
        pass
    with lmdb.open(str(tmp_path / "old"), max_dbs=2) as old:
        about = old.open_db(b"about")
        with old.begin(write=True, db=about) as transaction:
            transaction.put(b"format", b"pomagym.features/0")
    with pytest.raises(FileError, match=r"features/0, expected pomagym\.features/1"):
        FeatureCache(tmp_path / "old")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        FeatureCache(tmp_path / "file")
    with pytest.raises(FileError, match="no feature cache to read"):
        FeatureCache(tmp_path / "absent", read_only=True)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_short_is_never_believed(tmp_path: Path, share: float) -> None:
    views = digests(300)
    with FeatureCache(tmp_path) as cache:
        cache.put(ONE, views, features(views))
    data = tmp_path / "data.mdb"
    os.truncate(data, int(data.stat().st_size * share))
    with pytest.raises(FileError, match="delete the folder"):
        FeatureCache(tmp_path, read_only=True)
    with suppress(FileError), FeatureCache(tmp_path) as cache:
        for view, one in zip(views, cache.get(ONE, views, SHAPES), strict=True):
            if one is not None:
                np.testing.assert_array_equal(one["cls"], features([view])["cls"][0])


def test_a_flipped_bit_in_a_feature_is_noticed(tmp_path: Path) -> None:
    with FeatureCache(tmp_path) as cache:
        cache.put(ONE, digests(1), {"cls": np.full((1, 300), 7.25, np.float32)})
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    place = data.index(np.full(200, 7.25, "<f4").tobytes())
    data[place + 90] ^= 1
    (tmp_path / "data.mdb").write_bytes(data)
    with FeatureCache(tmp_path) as cache, pytest.raises(FileError, match="checksum"):
        cache.get(ONE, digests(1), {"cls": (300,)})


def test_one_object_a_process(tmp_path: Path) -> None:
    with FeatureCache(tmp_path) as cache:
        with pytest.raises(SettingError, match="share the one object"):
            FeatureCache(tmp_path)
        copy = pickle.dumps(cache)
    assert pickle.loads(copy).path == tmp_path
    with pytest.raises(SettingError, match="was closed"):
        cache.get(ONE, digests(1), SHAPES)
    for bad in (0, -1, True, 2.5e9):
        with pytest.raises(SettingError, match="at least 1048576 bytes"):
            FeatureCache(tmp_path / "x", size_limit_bytes=bad)  # type: ignore[arg-type]
