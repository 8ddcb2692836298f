"""Bad input among the data: one line that names the file, nothing half-written."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import archives
from support.bad_data import fails, folders, own, prepare_test, saved, table

from zsr.data import decode


def test_surprising_pictures_are_read_as_torchvision_reads_them(root: Path, tmp_path: Path):
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
    images, labels, _ = prepare_test(folders(root, surprises), tmp_path / "out")
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
def test_a_file_that_is_no_picture(name: str, content: bytes, root: Path, tmp_path: Path):
    fails(folders(root, {name: content}), tmp_path / "out", f"{name}: not a picture that can be read")
    fails(folders(root, {name: content}), tmp_path / "packed", f"{name}: not a picture that can be read", encoded=True)


def test_a_picture_bomb(root: Path, tmp_path: Path):
    bomb = saved(Image.new("1", (20000, 20000)), "PNG")
    fails(folders(root, {"cat/bomb.png": bomb}), tmp_path / "out", "bomb.png: not a picture that can be read")


def test_sizes_that_differ_need_a_transform(root: Path, tmp_path: Path):
    found = folders(root, {"dog/2.png": archives.picture(2, (9, 9), "PNG")})
    fails(found, tmp_path / "out", "9×9, others are 21×18; write transform: 224", transform="native")


def test_counts_must_agree(root: Path, tmp_path: Path):
    fails(folders(root), tmp_path / "out", "holds 2 images, the dataset's definition promises 3", count=3)


def test_a_class_without_pictures(root: Path, tmp_path: Path):
    folders(root)
    found = own(keys=["cat", "fox"])
    fails(found, tmp_path / "out", "no folder 'fox' with pictures")


def test_labels_out_of_range(root: Path, tmp_path: Path):
    table(root / "own/test.parquet", [0, 1, 2])
    fails(own("parquet", 3), tmp_path / "out", "label of image 2 is 2, but there are 2 classes")


def test_a_class_more_or_less_would_shift_the_labels(root: Path, tmp_path: Path):
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
    assert prepare_test(keyed, tmp_path / "keyed")[1].tolist() == [0, 1, 3]


def test_a_text_label_means_the_same_in_every_file(root: Path, tmp_path: Path):
    table(root / "own/test-0.parquet", ["dog", "dog"])
    table(root / "own/test-1.parquet", ["cat", "dog", "cat"])
    assert prepare_test(own("parquet", 5), tmp_path / "out")[1].tolist() == [1, 1, 0, 1, 0]


def test_parquet_as_hugging_face_writes_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    first = prepare_test(found, tmp_path / "a", "native")
    second = prepare_test(own("parquet", 3, options={"image": "img", "label": "fine"}), tmp_path / "b", "native")
    assert first[1].tolist() == second[1].tolist() == [1, 0, 1] and np.array_equal(first[0], second[0])
    assert np.array_equal(first[0][2].transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(contents[2]))))
    fails(
        own("parquet", 3, options={"image": "picture"}), tmp_path / "c", "no column 'picture'; the file has img, fine"
    )


def test_webdataset_shards(root: Path, tmp_path: Path):
    for shard in range(2):
        files = {}
        for i in range(2):
            files |= {f"{shard}{i}.cls": f"{i}\n".encode(), f"{shard}{i}.jpg": archives.picture(shard * 2 + i)}
            files[f"{shard}{i}.json"] = json.dumps({"caption": "ü"}).encode()
        archives.tar(root / f"own/test/{shard:06d}.tar", files, "w")
    images, labels, _ = prepare_test(own("webdataset", 4), tmp_path / "a", "native")
    again = prepare_test(
        own("webdataset", 4, options={"shards": "test/{000000..000001}.tar"}), tmp_path / "b", "native"
    )
    assert labels.tolist() == [0, 1, 0, 1] and np.array_equal(images, again[0])
    archives.tar(root / "own/test/000001.tar", {"x.cls": b"0", "y.jpg": archives.picture(1)}, "w")
    fails(own("webdataset", 4), tmp_path / "c", "another file than the one that was used before")
    (root / "own/test/.000001.tar.checked.json").unlink()
    fails(own("webdataset", 4), tmp_path / "c", "'x.cls' has no image")
