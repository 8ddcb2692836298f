"""Archives and lists that are missing, damaged or not to be trusted: one line that names the file, nothing unpacked."""

import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import archives
from support.bad_data import fails, folders, own, prepare_test
from support.preparing import define, prepare, run, spec_of

from zsr.data import archives as trees
from zsr.data.readers.cifar import restricted
from zsr.errors import ZsrError


@pytest.mark.parametrize("name", ["../escape.png", "/etc/escape.png", "cat/../../escape.png"])
def test_names_that_leave_the_archive(name: str, root: Path, tmp_path: Path):
    content = archives.picture(1)
    archives.zipped(root / "own/a.zip", {"cat/1.png": content, name: content})
    archives.tar(root / "own/a.tar.gz", {"cat/1.png": content, name: content})
    for archive in ("a.zip", "a.tar.gz"):
        found = own(options={"archive": archive, "inside": ""}, files=[{"path": archive}])
        fails(found, tmp_path / archive, "leaves its folder; the archive is not trusted")
    assert not list(tmp_path.rglob("escape.png"))


def test_links_that_leave(root: Path, tmp_path: Path):
    folders(root)
    (tmp_path / "secret.png").write_bytes(archives.picture(9))
    link = root / "own/dog/2.png"
    link.symlink_to(tmp_path / "secret.png")
    fails(own(count=3), tmp_path / "out", "a link that leaves its folder")
    link.unlink()
    link.symlink_to("1.png")  # inside it is fine
    assert len(prepare_test(own(count=3), tmp_path / "fine")[1]) == 3
    path = root / "own/links.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("cat/1.png")
        info.type, info.linkname = tarfile.SYMTYPE, "../../secret.png"
        archive.addfile(info)
    found = own(options={"archive": "links.tar", "inside": ""}, files=[{"path": "links.tar"}])
    fails(found, tmp_path / "tar", "is a link to '../../secret.png', outside")


def test_an_archive_that_unpacks_to_far_too_much(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "SLACK", 1000)
    archives.tar(root / "own/bomb.tar.gz", {"cat/1.png": bytes(1 << 22)})
    with zipfile.ZipFile(root / "own/bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", bytes(1 << 22))
    for name in ("bomb.tar.gz", "bomb.zip"):
        found = own(options={"archive": name, "inside": ""}, files=[{"path": name}])
        fails(found, tmp_path / name, "20 times its size; the archive is not trusted")


def test_an_archive_that_is_cut_short(root: Path, tmp_path: Path):
    for name, build in (("a.tar.gz", archives.tar), ("a.zip", archives.zipped)):
        path = root / "own" / name
        build(path, {f"cat/{i}.png": archives.picture(i) for i in range(9)})
        path.write_bytes(path.read_bytes()[:-3000])
        found = own(options={"archive": name, "inside": ""}, files=[{"path": name}])
        fails(found, tmp_path / name, f"{name}: not a .*, damaged or cut short")


def test_what_to_do_about_missing_files(root: Path, tmp_path: Path):
    for name, cure in (("caltech101", "place caltech-101.zip from"), ("cifar10", "write `download: true`")):
        with pytest.raises(ZsrError, match=cure):
            run(spec_of(define(name), "test", "16", 1), tmp_path / "out")
    archives.ucf101(root)
    (root / "ucf101/split_zhou_UCF101.json").unlink()
    with pytest.raises(ZsrError, match=r"split_zhou_UCF101\.json: missing; CoOp's DATASETS\.md"):
        prepare("ucf101", "test", 1, tmp_path / "out")


def test_an_archive_of_ones_own_is_noticed_when_it_is_replaced(root: Path, tmp_path: Path):
    """Also where the config gives no `files`."""
    found = own(options={"archive": "a.zip", "inside": ""})
    fails(found, tmp_path / "none", r"own/a\.zip: missing; place it there")
    archives.zipped(root / "own/a.zip", {"cat/1.png": archives.picture(1), "dog/1.png": archives.picture(2)})
    assert len(prepare_test(found, tmp_path / "one")[2]["files"]["a.zip"]) == 64
    archives.zipped(root / "own/a.zip", {"cat/1.png": archives.picture(3), "dog/1.png": archives.picture(4)})
    fails(found, tmp_path / "two", "another file than the one that was used before")


def test_a_missing_list_inside(root: Path, tmp_path: Path):
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
