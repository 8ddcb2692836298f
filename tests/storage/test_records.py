"""Results are written whole or not at all, and not believed when damaged or stale."""

import json

import numpy as np
import pytest

from zsr.data import prepared
from zsr.data.prepared import Chunk
from zsr.errors import ZsrError
from zsr.hashing import file_digest
from zsr.jobs.run import JobRun
from zsr.storage import records, rows


def record(path, **extra):
    value = {"spec_hash": "abc", "n": 3, **extra}
    records.write_json(path, {**value, "seal": records.seal(value)})
    return path


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    records.write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(path, {"new": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_record_is_refused_when_missing_changed_or_of_another_spec(tmp_path):
    path = record(tmp_path / "r.json")
    assert records.read_record(path, "abc")["n"] == 3
    with pytest.raises(ZsrError, match=r"r\.json: stale"):
        records.read_record(path, "abd")
    path.write_text(path.read_text(encoding="utf-8").replace('"n": 3', '"n": 4'), encoding="utf-8")
    with pytest.raises(ZsrError, match="seal"):
        records.read_record(path, "abc")
    path.write_text(path.read_text(encoding="utf-8")[:10], encoding="utf-8")
    with pytest.raises(ZsrError, match="not a record"):
        records.read_record(path)
    with pytest.raises(ZsrError, match="missing"):
        records.read_record(tmp_path / "none.json")


def test_every_byte_of_a_cell_counts(tmp_path):
    path = tmp_path / "eps.parquet"
    rows.write_rows(path, {"index": np.arange(20), "fooled_by": np.array(["pgd", ""] * 10, object)})
    digest = file_digest(path)
    assert rows.read_rows(path, digest).num_rows == 20
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ZsrError, match="damaged"):
            rows.read_rows(path, digest)


def test_equal_rows_make_equal_bytes(tmp_path):
    columns = {"index": np.arange(50), "robust": np.arange(50) % 3 == 0, "fooled_by": np.array(["a"] * 50, object)}
    for name in ("one", "two"):
        rows.write_rows(tmp_path / name, columns)
    assert file_digest(tmp_path / "one") == file_digest(tmp_path / "two")


def chunks(count, labels=10, size=7):
    rng = np.random.default_rng(0)
    for start in range(0, count, size):
        n = min(size, count - start)
        images = rng.integers(0, 256, (n, 3, 4, 4), dtype=np.uint8)
        yield Chunk(images, rng.integers(0, labels, n), [f"a {i}" for i in range(start, start + n)])


def write(tmp_path, count=20, promised=20):
    facts, captions = prepared.write(chunks(count), promised, tmp_path / "images.npy", tmp_path / "labels.npy")
    digests = {name: file_digest(tmp_path / f"{name}.npy") for name in ("images", "labels")}
    return {**facts, "digests": digests}, captions


def test_arrays_hold_what_the_reader_gave(tmp_path):
    made, captions = write(tmp_path)
    images, labels = prepared.read(tmp_path / "images.npy", made, classes=10)
    assert np.array_equal(images, np.concatenate([c.images for c in chunks(20)]))
    assert np.array_equal(labels, np.concatenate([c.labels for c in chunks(20)]))
    assert captions == [f"a {i}" for i in range(20)]


def test_arrays_refuse_damage_too_few_images_and_labels_without_a_name(tmp_path):
    made, _ = write(tmp_path)
    with pytest.raises(ZsrError, match="names 3 classes"):
        prepared.read(tmp_path / "images.npy", made, classes=3)
    with pytest.raises(ZsrError, match="gave 20 images, the dataset's definition promises 30"):
        write(tmp_path / "..", promised=30)
    raw = bytearray((tmp_path / "images.npy").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "images.npy").write_bytes(bytes(raw))
    with pytest.raises(ZsrError, match="damaged"):
        prepared.read(tmp_path / "images.npy", made)


def test_a_disk_that_fills_up_at_the_last_moment_leaves_no_final_name(tmp_path, monkeypatch):
    """The record is written, under its temporary name, before any other file of the result is renamed."""
    final = {"rows": tmp_path / "eps.parquet", "record": tmp_path / "eps.json"}
    job = JobRun({"job": "evaluate", "environment": {"name": "evaluate", "pins": ""}}, {}, final)
    job.outputs["rows"].write_bytes(b"rows")

    def full(path, value):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(records, "write_json", full)
        with pytest.raises(OSError, match="No space"):
            job.publish({})
    assert not any(path.exists() for path in final.values())
    job.publish({})
    assert records.read_record(final["record"])["digests"] == {"rows": file_digest(final["rows"])}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eps.json", "eps.parquet"]
    job.outputs["rows"].write_bytes(b"other")
    job.discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eps.json", "eps.parquet"]
