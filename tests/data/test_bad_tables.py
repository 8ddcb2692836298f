"""Bad Parquet tables, captions, shards and archives of the user's own: the mistake is one line that names the file."""

import io
import tarfile
import warnings
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import archives
from support.bad_bytes import DAMAGE, HTML, SAYS
from support.bad_data import fails, folders, own, prepare_test, table


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table(damage: str, root: Path, tmp_path: Path):
    table(root / "own/test-0.parquet", [0, 1])
    path = table(root / "own/test-1.parquet", [0, 1])
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    fails(own("parquet", 4), tmp_path / "out", rf"own/test-1\.parquet: not a Parquet file.*{SAYS.get(damage, '')}")


def test_a_table_whose_pages_are_damaged(root: Path, tmp_path: Path):
    path = table(root / "own/test.parquet", [0, 1] * 50)
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    fails(own("parquet", 100), tmp_path / "out", r"own/test\.parquet: ")


TABLES = {
    "no column": ({"label": [0, 1]}, r"test\.parquet: no column 'image'; the file has label"),
    "no image": (
        {"image": [None, b"x"], "label": [0, 1]},
        r"test\.parquet: row 0: column 'image' holds no encoded image",
    ),
    "text": ({"image": ["a", "b"], "label": [0, 1]}, r"test\.parquet: row 0: column 'image' holds no encoded image"),
    "number": ({"image": [1, 2], "label": [0, 1]}, r"test\.parquet: row 0: column 'image' holds no encoded image"),
    "path alone": (
        {"image": [{"path": "a.png", "bytes": None}] * 2, "label": [0, 1]},
        r"test\.parquet: row 0: column 'image' holds no encoded image",
    ),
    "no bytes": ({"image": [b"", b""], "label": [0, 1]}, r"test\.parquet: row 0: not a picture .*it is empty"),
    "binary label": ({"image": [b"a", b"b"], "label": [b"0", b"1"]}, r"row 0, column 'label': the label is b'0'"),
    "no rows": (
        {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())},
        r"own \(test\): holds no picture",
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_bad_table(what: str, root: Path, tmp_path: Path):
    columns, message = TABLES[what]
    (root / "own").mkdir(parents=True)
    pq.write_table(pa.table(columns), root / "own/test.parquet")
    fails(own("parquet"), tmp_path / "out", message)


def test_a_table_with_a_column_twice(root: Path, tmp_path: Path):
    (root / "own").mkdir(parents=True)
    twice = pa.Table.from_arrays([pa.array([b"a"]), pa.array([0]), pa.array([1])], ["image", "label", "label"])
    pq.write_table(twice, root / "own/test.parquet")
    fails(own("parquet", 1), tmp_path / "out", r"test\.parquet: more than one column 'label'")


NOT_CAPTIONS = {
    "none": None,
    "number": 5,
    "empty": " ",
    "no texts": [],
    "a none among": ["a", None],
    "mapping": {"a": 1},
}


@pytest.mark.parametrize("what", NOT_CAPTIONS)
def test_a_caption_that_is_none(what: str, root: Path, tmp_path: Path):
    value = NOT_CAPTIONS[what]
    good = {"number": 4, "no texts": ["a"], "a none among": ["a"], "mapping": {"a": 0}}.get(what, "a")
    table(root / "own/test.parquet", [0, 1], text=[good, value])
    found = own("parquet", options={"caption": "text"})
    row = 0 if what in ("number", "mapping") else 1
    fails(found, tmp_path / "out", rf"test\.parquet: row {row}, column 'text': (has no caption|the caption is)")


METADATA = {
    "unclosed quote": (
        "csv",
        b'file_name,text\ncat/1.png,"a cat\ndog/1.png,a dog\n',
        r"metadata\.csv: not a table of CSV",
    ),
    "bytes": ("csv", b"file_name,text\ncat/1.png,\xff\xfe\n", r"metadata\.csv: not text in UTF-8"),
    "page": ("csv", HTML, r"metadata\.csv: no column 'file_name'"),
    "empty": ("csv", b"", r"metadata\.csv: no column 'file_name'"),
    "no column": (
        "csv",
        b"file_name,caption\ncat/1.png,a\n",
        r"metadata\.csv: no column 'text', it has file_name, caption",
    ),
    "a row less": ("csv", b"file_name,text\ncat/1.png,a cat\n", r"column 'text': dog/1\.png: has no caption"),
    "short row": ("csv", b"file_name,text\ncat/1.png,a cat\ndog/1.png\n", r"dog/1\.png: has no caption"),
    "twice": ("csv", b"file_name,text\ncat/1.png,a\ncat/1.png,b\ndog/1.png,c\n", r"'cat/1\.png' has two captions"),
    "json": ("jsonl", b'{"file_name": "cat/1.png", "text": "a cat"}\n{"file', r"metadata\.jsonl, line 2: not JSON"),
    "lines": ("jsonl", b'["cat/1.png", "a cat"]', r"metadata\.jsonl, line 1: not a mapping"),
    "number": (
        "jsonl",
        b'{"file_name": "cat/1.png", "text": 5}\n{"file_name": "dog/1.png", "text": "a"}',
        r"cat/1\.png: the caption is 5; write a text",
    ),
}


@pytest.mark.parametrize("what", METADATA)
def test_bad_metadata(what: str, root: Path, tmp_path: Path):
    kind, content, message = METADATA[what]
    folders(root)
    (root / f"own/metadata.{kind}").write_bytes(content)
    fails(own(options={"inside": "", "caption": "text"}), tmp_path / "out", message)


def test_metadata_that_excel_wrote_is_read(root: Path, tmp_path: Path):
    folders(root)
    (root / "own/metadata.csv").write_bytes("\ufefffile_name,text\ncat/1.png,ä\ndog/1.png,b\n".encode())
    assert len(prepare_test(own(options={"inside": "", "caption": "text"}), tmp_path / "out")[1]) == 2


SHARDS = {
    "two images": ({"a.cls": b"0", "a.jpg": b"", "a.png": b""}, r"'a\.jpg' and 'a\.png' are images of one sample"),
    "no label": ({"a.jpg": b""}, r"0\.tar: 'a\.jpg' has no label"),
    "no image": ({"a.cls": b"0"}, r"0\.tar: 'a\.cls' has no image"),
    "bytes": ({"a.cls": b"\xff", "a.jpg": b""}, r"0\.tar: a\.cls: the label b'\\xff' is not a number"),
    "no picture": ({"a.cls": b"0", "a.jpg": HTML}, r"0\.tar: a\.jpg: not a picture .* web page"),
    "nothing": ({}, r"own \(test\): holds no picture"),
}


@pytest.mark.parametrize("what", SHARDS)
def test_a_bad_shard(what: str, root: Path, tmp_path: Path):
    files, message = SHARDS[what]
    archives.tar(root / "own/test/0.tar", files, "w")
    fails(own("webdataset", 1), tmp_path / "out", message)


@pytest.mark.parametrize("damage", ["empty", "web page", "cut", "garbage"])
def test_a_damaged_shard(damage: str, root: Path, tmp_path: Path):
    path = root / "own/test/0.tar"
    archives.tar(path, {"a.cls": b"0", "a.jpg": archives.picture(1, (90, 90))}, "w")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    fails(own("webdataset", 1), tmp_path / "out", r"own/test/0\.tar: not a tar, damaged or cut short")


@pytest.mark.parametrize("pattern", ["test/{0..x}.tar", "test/{..}.tar", "test/{5..1}.tar"])
def test_a_range_of_shards_that_is_none(pattern: str, root: Path, tmp_path: Path):
    fails(own("webdataset", 1, options={"shards": pattern}), tmp_path / "out", "is no range of shards")


def twice(path: Path, *contents: bytes) -> None:
    """An archive that holds cat/1.png with each of the contents, and a dog."""
    members = [("dog/1.png", archives.picture(1, kind="PNG")), *(("cat/1.png", content) for content in contents)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile: a duplicate name
            for name, content in members:
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("archive", ["a.zip", "a.tar.gz"])
def test_a_name_twice_in_an_archive(archive: str, root: Path, tmp_path: Path):
    one, other = archives.picture(2, kind="PNG"), archives.picture(3, kind="PNG")
    found = own(options={"archive": archive, "inside": ""})
    twice(root / "own" / archive, one, one)  # packed again: the same
    assert len(prepare_test(found, tmp_path / "same")[1]) == 2
    (root / f"own/.{archive}.checked.json").unlink()
    twice(root / "own" / archive, one, other)
    fails(found, tmp_path / "other", rf"{archive}: holds 'cat/1\.png' twice, with other contents")


def test_an_encrypted_zip_and_a_damaged_member(root: Path, tmp_path: Path):
    path = root / "own/a.zip"
    archives.zipped(path, {"cat/1.png": archives.picture(1, kind="PNG"), "dog/1.png": archives.picture(2, kind="PNG")})
    good = path.read_bytes()
    found = own(options={"archive": "a.zip", "inside": ""})
    path.write_bytes(good.replace(b"IDAT", b"IDBT", 1))
    fails(found, tmp_path / "crc", r"a\.zip: cat/1\.png: not what the index of the zip says.*CRC")
    locked = bytearray(good)
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = good.index(start) + (6 if start[2] == 3 else 8)
        locked[at] |= 1
    path.write_bytes(locked)
    fails(found, tmp_path / "locked", r"a\.zip: cat/1\.png: not what .*encrypted")
