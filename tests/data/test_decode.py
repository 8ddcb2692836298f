"""Decoding: the same bytes for any number of workers, a preparation that goes on where it was stopped, a full disk."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import archives
from support.bad_data import fails, folders, prepare_test
from support.preparing import define, spec_of

from zsr.data import archives as trees
from zsr.data import decode


@contextmanager
def broken(path: Path) -> Iterator[None]:
    """The file with other bytes, for a while."""
    good = path.read_bytes()
    path.write_bytes(b"broken")
    yield
    path.write_bytes(good)


def many(root: Path) -> dict:
    return folders(root, {f"cat/{i:03d}.jpg": archives.picture(i, (40, 30)) for i in range(60)})


def test_the_same_bytes_for_any_number_of_workers(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = many(root)
    made = []
    for workers in ("1", "2", "7"):
        monkeypatch.setenv("ZSR_WORKERS", workers)
        prepare_test(found, tmp_path / workers)
        made.append((tmp_path / workers / "images.npy").read_bytes())
    assert made[0] == made[1] == made[2]


def test_an_interrupted_decoding_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = many(root)
    whole = prepare_test(found, tmp_path / "whole")
    monkeypatch.setenv("ZSR_WORKERS", "1")
    with broken(root / "own/cat/040.jpg"):
        fails(found, tmp_path / "out", "040.jpg: not a picture")
    images, _, facts = prepare_test(found, tmp_path / "out")
    assert facts["resumed"] > 20 and np.array_equal(images, whole[0])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["images.npy", "labels.npy"]


def test_a_note_is_not_believed_of_a_newer_array(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The job removes its array when a picture fails; the next is killed as soon as it has made another."""
    found = many(root)
    whole = prepare_test(found, tmp_path / "whole")
    with broken(root / "own/dog/1.png"):
        fails(found, tmp_path / "out", "dog/1.png: not a picture")
        (tmp_path / "out/images.npy").unlink()
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(decode, "Progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            prepare_test(found, tmp_path / "out")
        assert (tmp_path / "out/images.npy").exists()
    images, _, facts = prepare_test(found, tmp_path / "out")
    assert facts["resumed"] == 0 and np.array_equal(images, whole[0])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY"])
def test_a_note_that_is_cut_short_is_not_believed(damage: bytes, root: Path, tmp_path: Path):
    found, out = many(root), tmp_path / "out"
    with broken(root / "own/dog/1.png"):
        fails(found, out, "dog/1.png: not a picture")
    next(out.glob(".images.npy.*.done.npy")).write_bytes(damage)
    assert prepare_test(found, out)[2]["resumed"] == 0


def test_a_folder_that_changed_is_decoded_from_the_start(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As many pictures, but each in the row of its neighbour."""
    found = many(root)
    path = root / "own/cat/040.jpg"
    path.write_bytes(b"broken")
    monkeypatch.setenv("ZSR_WORKERS", "1")
    fails(found, tmp_path / "out", "040.jpg: not a picture")
    path.rename(root / "own/cat/000a.jpg").write_bytes(archives.picture(99, (40, 30)))
    images, _, facts = prepare_test(found, tmp_path / "out")
    assert facts["resumed"] == 0 and np.array_equal(images, prepare_test(found, tmp_path / "whole")[0])


def test_encoded_gives_the_same_pixels(root: Path, tmp_path: Path):
    found = many(root)
    images, labels, _ = prepare_test(found, tmp_path / "decoded")
    packed, same, _ = prepare_test(found, tmp_path / "packed", encoded=True)
    assert np.array_equal(packed[:], images) and np.array_equal(same, labels) and packed.shape == images.shape
    chosen = np.array([5, 1, 61])
    assert np.array_equal(packed[chosen], images[chosen]) and np.array_equal(packed.select(chosen)[1], images[1])


def test_large_splits_stay_encoded():
    found = define("imagenet")
    assert spec_of(found, "train", "224", 1_281_167)["encoded"] and not spec_of(found, "test", "224", 50_000)["encoded"]
    assert spec_of(found, "test", "224", 50_000, limit=7)["encoded"]


FULL = """
import resource, signal, sys
sys.path[:0] = sys.argv[2:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
from pathlib import Path
from zsr.data.decode import new_array
from zsr.errors import ZsrError
try:
    new_array(Path(sys.argv[1]), (100, 3, 16, 16))
except ZsrError as error:
    print(error)
"""


def test_a_full_disk_is_met_before_the_first_picture(tmp_path: Path):
    """The kernel refuses the space (a limit on the size of files stands for the full disk)."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "images.npy"), str(Path(trees.__file__).parents[2])]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "no room for 0.1 MB" in said and not (tmp_path / "images.npy").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_disk_that_cannot_suffice(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    fails(folders(root), tmp_path / "out", "are needed and 0.0 MB are free; make room first")
    assert not list((tmp_path / "out").iterdir())
