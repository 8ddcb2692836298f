"""Bad input among the data: one line that names the file, nothing half-written."""

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import archives
from support.preparing import define, prepare, root, run, spec_of  # noqa: F401
from support.project import refused

from zsr.config.entries import DatasetDefinition
from zsr.data import archives as trees
from zsr.data import decode
from zsr.data.readers.cifar import restricted
from zsr.errors import ZsrError

CLASSES = ["cat", "dog"]


def folders(root: Path, extra: dict[str, bytes] | None = None) -> DatasetDefinition:  # noqa: F811
    """A dataset of the user's own: two class folders of PNGs, and more files; returns what the config says of it."""
    files = {
        "cat/1.png": archives.picture(1, kind="PNG"),
        "dog/1.png": archives.picture(2, kind="PNG"),
        **(extra or {}),
    }
    for name, content in files.items():
        path = root / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    pictures = [name for name in files if name.lower().endswith((".png", ".jpg", ".gif", ".tif"))]
    return own(count=len(pictures))


def own(reader: str = "folder", count: int = 2, **changes: object) -> DatasetDefinition:
    from zsr.config.datasets import definition

    entry = {"name": "own", "reader": reader, "splits": {"test": count}, "classes": CLASSES, **changes}
    if reader == "folder" and "options" not in changes:
        entry["options"] = {"inside": ""}
    return definition([entry], "own", "test")


def test(
    found: DatasetDefinition, out: Path, transform: str = "16-bilinear", count: int | None = -1, **changes: object
):
    count = found.splits["test"] if count == -1 else count
    return run(spec_of(found, "test", transform, count) | changes, out)


test.__test__ = False


@contextmanager
def broken(path: Path) -> Iterator[None]:
    """The file with other bytes, for a while."""
    good = path.read_bytes()
    path.write_bytes(b"broken")
    yield
    path.write_bytes(good)


def fails(found: dict, out: Path, match: str, **changes: object) -> None:
    """One line that says `match`, and no result."""
    with refused(match):
        test(found, out, **changes)
    assert not (out / "labels.npy").exists()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_surprising_pictures_are_read_as_torchvision_reads_them(root: Path, tmp_path: Path):  # noqa: F811
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6  # rotate by 90°: torchvision's loader leaves it
    noise = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    deep = rng.integers(0, 65536, (20, 30), np.uint16)
    frames = [Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8)) for _ in range(3)]
    surprises = {
        "dog/cmyk.jpg": archives.picture(3, (30, 20), mode="CMYK"),
        "dog/deep.png": saved(Image.fromarray(deep), "PNG"),
        "dog/film.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "dog/turned.jpg": saved(noise, "JPEG", exif=turned),
        "dog/ünïcödé 猫.png": saved(noise.convert("RGBA"), "PNG"),
        "dog/Thumbs.db": b"not a picture, and not called one",
    }
    images, labels, _ = test(folders(root, surprises), tmp_path / "out")
    assert labels.tolist() == [0, 1, 1, 1, 1, 1, 1]
    by_name = dict(zip(sorted(n for n in surprises if not n.endswith("db")), images[2:], strict=True))
    change = decode.Transform(16, 16, bicubic=False)
    for name, content in surprises.items():
        if name in ("dog/Thumbs.db", "dog/deep.png"):
            continue
        wanted = np.asarray(change(Image.open(io.BytesIO(content)).convert("RGB")))
        assert np.array_equal(by_name[name].transpose(1, 2, 0), wanted), name
    scaled = Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    assert np.array_equal(by_name["dog/deep.png"].transpose(1, 2, 0), np.asarray(change(scaled)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dog/bad.jpg", b"<html>not found</html>"),
        ("dog/cut.jpg", archives.picture(1, (60, 60))[:900]),
        ("dog/0.png", b""),
    ],
)
def test_a_file_that_is_no_picture(name: str, content: bytes, root: Path, tmp_path: Path):  # noqa: F811
    fails(folders(root, {name: content}), tmp_path / "out", f"{name}: not a picture that can be read")
    fails(folders(root, {name: content}), tmp_path / "packed", f"{name}: not a picture that can be read", encoded=True)


def test_a_picture_bomb(root: Path, tmp_path: Path):  # noqa: F811
    bomb = saved(Image.new("1", (20000, 20000)), "PNG")
    fails(folders(root, {"cat/bomb.png": bomb}), tmp_path / "out", "bomb.png: not a picture that can be read")


def test_sizes_that_differ_need_a_transform(root: Path, tmp_path: Path):  # noqa: F811
    found = folders(root, {"dog/2.png": archives.picture(2, (9, 9), "PNG")})
    fails(found, tmp_path / "out", "9×9, others are 21×18; write transform: 224", transform="native")


def test_counts_must_agree(root: Path, tmp_path: Path):  # noqa: F811
    fails(folders(root), tmp_path / "out", "holds 2 images, the dataset's definition promises 3", count=3)


def test_a_class_without_pictures(root: Path, tmp_path: Path):  # noqa: F811
    folders(root)
    found = own(keys=["cat", "fox"])
    fails(found, tmp_path / "out", "no folder 'fox' with pictures")


def table(path: Path, labels: list) -> None:
    """One file of pictures with labels as Hugging Face writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [archives.picture(i, kind="PNG") for i in range(len(labels))]
    pq.write_table(pa.table({"image": pictures, "label": labels}), path)


def test_labels_out_of_range(root: Path, tmp_path: Path):  # noqa: F811
    table(root / "own/test.parquet", [0, 1, 2])
    fails(own("parquet", 3), tmp_path / "out", "label of image 2 is 2, but there are 2 classes")


def test_a_class_more_or_less_would_shift_the_labels(root: Path, tmp_path: Path):  # noqa: F811
    """Without keys, sorted names are classes only if all are there: the eel's folder missing, foxes are called eels."""
    found = folders(root, {"fox/1.png": archives.picture(3, kind="PNG")})
    four = own(count=3, classes=["a cat", "a dog", "an eel", "a fox"])
    fails(four, tmp_path / "less", r"own: '\.': 3 classes \(cat, dog, fox\), the dataset's definition has 4; .*`keys`")
    fails(found, tmp_path / "more", r"3 classes \(cat, dog, fox\), the dataset's definition has 2; .*`keys`")
    table(root / "own/test.parquet", ["cat", "dog", "fox"])
    fails(
        own("parquet", 3), tmp_path / "table", r"own: column 'label': 3 classes \(cat, dog, fox\), .* has 2; .*`keys`"
    )
    keyed = own("parquet", 3, classes=list(four.classes), keys=["cat", "dog", "eel", "fox"])
    assert test(keyed, tmp_path / "keyed")[1].tolist() == [0, 1, 3]


def test_a_text_label_means_the_same_in_every_file(root: Path, tmp_path: Path):  # noqa: F811
    table(root / "own/test-0.parquet", ["dog", "dog"])
    table(root / "own/test-1.parquet", ["cat", "dog", "cat"])
    assert test(own("parquet", 5), tmp_path / "out")[1].tolist() == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("name", ["../escape.png", "/etc/escape.png", "cat/../../escape.png"])
def test_names_that_leave_the_archive(name: str, root: Path, tmp_path: Path):  # noqa: F811
    content = archives.picture(1)
    archives.zipped(root / "own/a.zip", {"cat/1.png": content, name: content})
    archives.tar(root / "own/a.tar.gz", {"cat/1.png": content, name: content})
    for archive in ("a.zip", "a.tar.gz"):
        found = own(options={"archive": archive, "inside": ""}, files=[{"path": archive}])
        fails(found, tmp_path / archive, "leaves its folder; the archive is not trusted")
    assert not list(tmp_path.rglob("escape.png"))


def test_links_that_leave(root: Path, tmp_path: Path):  # noqa: F811
    folders(root)
    (tmp_path / "secret.png").write_bytes(archives.picture(9))
    link = root / "own/dog/2.png"
    link.symlink_to(tmp_path / "secret.png")
    fails(own(count=3), tmp_path / "out", "a link that leaves its folder")
    link.unlink()
    link.symlink_to("1.png")  # inside it is fine
    assert len(test(own(count=3), tmp_path / "fine")[1]) == 3
    path = root / "own/links.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("cat/1.png")
        info.type, info.linkname = tarfile.SYMTYPE, "../../secret.png"
        archive.addfile(info)
    found = own(options={"archive": "links.tar", "inside": ""}, files=[{"path": "links.tar"}])
    fails(found, tmp_path / "tar", "is a link to '../../secret.png', outside")


def test_an_archive_that_unpacks_to_far_too_much(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setattr(trees, "SLACK", 1000)
    archives.tar(root / "own/bomb.tar.gz", {"cat/1.png": bytes(1 << 22)})
    with zipfile.ZipFile(root / "own/bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", bytes(1 << 22))
    for name in ("bomb.tar.gz", "bomb.zip"):
        found = own(options={"archive": name, "inside": ""}, files=[{"path": name}])
        fails(found, tmp_path / name, "20 times its size; the archive is not trusted")


def test_an_archive_that_is_cut_short(root: Path, tmp_path: Path):  # noqa: F811
    for name, build in (("a.tar.gz", archives.tar), ("a.zip", archives.zipped)):
        path = root / "own" / name
        build(path, {f"cat/{i}.png": archives.picture(i) for i in range(9)})
        path.write_bytes(path.read_bytes()[:-3000])
        found = own(options={"archive": name, "inside": ""}, files=[{"path": name}])
        fails(found, tmp_path / name, f"{name}: not a .*, damaged or cut short")


def test_what_to_do_about_missing_files(root: Path, tmp_path: Path):  # noqa: F811
    for name, cure in (("caltech101", "place caltech-101.zip from"), ("cifar10", "write `download: true`")):
        with pytest.raises(ZsrError, match=cure):
            run(spec_of(define(name), "test", "16", 1), tmp_path / "out")
    archives.ucf101(root)
    (root / "ucf101/split_zhou_UCF101.json").unlink()
    with pytest.raises(ZsrError, match=r"split_zhou_UCF101\.json: missing; CoOp's DATASETS\.md"):
        prepare("ucf101", "test", 1, tmp_path / "out")


def test_an_archive_of_ones_own_is_noticed_when_it_is_replaced(root: Path, tmp_path: Path):  # noqa: F811
    """Also where the config gives no `files`."""
    found = own(options={"archive": "a.zip", "inside": ""})
    fails(found, tmp_path / "none", r"own/a\.zip: missing; place it there")
    archives.zipped(root / "own/a.zip", {"cat/1.png": archives.picture(1), "dog/1.png": archives.picture(2)})
    assert len(test(found, tmp_path / "one")[2]["files"]["a.zip"]) == 64
    archives.zipped(root / "own/a.zip", {"cat/1.png": archives.picture(3), "dog/1.png": archives.picture(4)})
    fails(found, tmp_path / "two", "another file than the one that was used before")


def test_a_missing_list_inside(root: Path, tmp_path: Path):  # noqa: F811
    archives.tar(root / "dtd/dtd-r1.0.1.tar.gz", {"dtd/images/banded/banded_0001.jpg": archives.picture(1)})
    with pytest.raises(ZsrError, match=r"holds no 'dtd/labels/test1\.txt'"):
        prepare("dtd", "test", 1, tmp_path / "out")


def test_a_pickle_that_would_run_something():
    class Evil:
        def __reduce__(self):
            return os.system, ("echo no",)

    import pickle

    with pytest.raises(ZsrError, match=r"asks for posix\.system"):
        restricted(pickle.dumps({"data": Evil()}), "data_batch_1")
    with pytest.raises(ZsrError, match="not a batch of CIFAR"):
        restricted(b"cut", "data_batch_1")


def test_parquet_as_hugging_face_writes_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    contents = [archives.picture(i, kind="PNG") for i in range(3)]
    plain, struct = tmp_path / "real/test.parquet", root / "own/test-00000-of-00001.parquet"
    for path in (plain, struct):
        path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": contents, "label": pa.array([1, 0, 1], pa.int32())}), plain)
    rows = [{"bytes": content, "path": None} for content in contents]
    pq.write_table(pa.table({"img": rows, "fine": ["dog", "cat", "dog"]}), struct, row_group_size=2)
    found = own("parquet", 3, options={"path": "$ZSR_TEST_REAL/{split}.parquet"})
    fails(found, tmp_path / "unset", "the variable ZSR_TEST_REAL is not set")
    monkeypatch.setenv("ZSR_TEST_REAL", str(plain.parent))
    first = test(found, tmp_path / "a", "native")
    second = test(own("parquet", 3, options={"image": "img", "label": "fine"}), tmp_path / "b", "native")
    assert first[1].tolist() == second[1].tolist() == [1, 0, 1] and np.array_equal(first[0], second[0])
    assert np.array_equal(first[0][2].transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(contents[2]))))
    fails(
        own("parquet", 3, options={"image": "picture"}), tmp_path / "c", "no column 'picture'; the file has img, fine"
    )


def test_webdataset_shards(root: Path, tmp_path: Path):  # noqa: F811
    for shard in range(2):
        files = {}
        for i in range(2):
            files |= {f"{shard}{i}.cls": f"{i}\n".encode(), f"{shard}{i}.jpg": archives.picture(shard * 2 + i)}
            files[f"{shard}{i}.json"] = json.dumps({"caption": "ü"}).encode()
        archives.tar(root / f"own/test/{shard:06d}.tar", files, "w")
    images, labels, _ = test(own("webdataset", 4), tmp_path / "a", "native")
    again = test(own("webdataset", 4, options={"shards": "test/{000000..000001}.tar"}), tmp_path / "b", "native")
    assert labels.tolist() == [0, 1, 0, 1] and np.array_equal(images, again[0])
    archives.tar(root / "own/test/000001.tar", {"x.cls": b"0", "y.jpg": archives.picture(1)}, "w")
    fails(own("webdataset", 4), tmp_path / "c", "another file than the one that was used before")
    (root / "own/test/.000001.tar.checked.json").unlink()
    fails(own("webdataset", 4), tmp_path / "c", "'x.cls' has no image")


def many(root: Path) -> dict:  # noqa: F811
    return folders(root, {f"cat/{i:03d}.jpg": archives.picture(i, (40, 30)) for i in range(60)})


def test_the_same_bytes_for_any_number_of_workers(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    found = many(root)
    made = []
    for workers in ("1", "2", "7"):
        monkeypatch.setenv("ZSR_WORKERS", workers)
        test(found, tmp_path / workers)
        made.append((tmp_path / workers / "images.npy").read_bytes())
    assert made[0] == made[1] == made[2]


def test_an_interrupted_decoding_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    found = many(root)
    whole = test(found, tmp_path / "whole")
    monkeypatch.setenv("ZSR_WORKERS", "1")
    with broken(root / "own/cat/040.jpg"):
        fails(found, tmp_path / "out", "040.jpg: not a picture")
    images, _, facts = test(found, tmp_path / "out")
    assert facts["resumed"] > 20 and np.array_equal(images, whole[0])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["images.npy", "labels.npy"]


def test_a_note_is_not_believed_of_a_newer_array(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    """The job removes its array when a picture fails; the next is killed as soon as it has made another."""
    found = many(root)
    whole = test(found, tmp_path / "whole")
    with broken(root / "own/dog/1.png"):
        fails(found, tmp_path / "out", "dog/1.png: not a picture")
        (tmp_path / "out/images.npy").unlink()
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(decode, "Progress", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            test(found, tmp_path / "out")
        assert (tmp_path / "out/images.npy").exists()
    images, _, facts = test(found, tmp_path / "out")
    assert facts["resumed"] == 0 and np.array_equal(images, whole[0])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY"])
def test_a_note_that_is_cut_short_is_not_believed(damage: bytes, root: Path, tmp_path: Path):  # noqa: F811
    found, out = many(root), tmp_path / "out"
    with broken(root / "own/dog/1.png"):
        fails(found, out, "dog/1.png: not a picture")
    next(out.glob(".images.npy.*.done.npy")).write_bytes(damage)
    assert test(found, out)[2]["resumed"] == 0


def test_a_folder_that_changed_is_decoded_from_the_start(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    """As many pictures, but each in the row of its neighbour."""
    found = many(root)
    path = root / "own/cat/040.jpg"
    path.write_bytes(b"broken")
    monkeypatch.setenv("ZSR_WORKERS", "1")
    fails(found, tmp_path / "out", "040.jpg: not a picture")
    path.rename(root / "own/cat/000a.jpg").write_bytes(archives.picture(99, (40, 30)))
    images, _, facts = test(found, tmp_path / "out")
    assert facts["resumed"] == 0 and np.array_equal(images, test(found, tmp_path / "whole")[0])


def test_encoded_gives_the_same_pixels(root: Path, tmp_path: Path):  # noqa: F811
    found = many(root)
    images, labels, _ = test(found, tmp_path / "decoded")
    packed, same, _ = test(found, tmp_path / "packed", encoded=True)
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


def test_a_disk_that_cannot_suffice(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    fails(folders(root), tmp_path / "out", "are needed and 0.0 MB are free; make room first")
    assert not list((tmp_path / "out").iterdir())
