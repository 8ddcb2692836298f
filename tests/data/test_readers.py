"""Every dataset: a miniature archive in the original layout, read as torchvision reads it once it is unpacked."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv
from PIL import Image
from support import archives
from support.preparing import define, prepare, run, spec_of
from torchvision import transforms as T

from zsr.config.datasets import known_datasets
from zsr.errors import ZsrError

SMALL = "16-bilinear"


def pixels_of(image: Image.Image | np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def ours(images: np.ndarray, labels: np.ndarray) -> Counter:
    rows = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in images[np.arange(len(labels))]]
    return Counter((int(label), pixels_of(row)) for row, label in zip(rows, labels, strict=True))


def theirs(dataset: object, transform: str) -> Counter:
    change = T.Compose([T.Resize(16, T.InterpolationMode.BILINEAR), T.CenterCrop(16)])
    found = Counter()
    for image, label in dataset:
        image = image.convert("RGB")
        found[int(label), pixels_of(np.asarray(change(image) if transform == SMALL else image))] += 1
    return found


def unpack(folder: Path, target: Path) -> Path:
    """Everything in a dataset's folder, unpacked into one place."""
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.suffix == ".zip":
            zipfile.ZipFile(path).extractall(target)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                archive.extractall(target, filter="data")
        else:
            shutil.copy(path, target)
    return target


# name, split, images, transform, what torchvision makes of the unpacked files
ORACLES = {
    "cifar10": ("test", 3, "native", lambda d: tv.CIFAR10(unpack(d, d / "u"), train=False)),
    "cifar100": ("train", 4, "native", lambda d: tv.CIFAR100(unpack(d, d / "u"), train=True)),
    "stl10": ("test", 3, "native", lambda d: tv.STL10(unpack(d, d / "u"), split="test")),
    "sun397": ("test", 3, SMALL, lambda d: tv.SUN397(unpack(d, d / "u"))),
    "stanford-cars": ("test", 3, SMALL, lambda d: tv.StanfordCars(unpack(d, d / "u/stanford_cars").parent, "test")),
    "food101": ("test", 4, SMALL, lambda d: tv.Food101(unpack(d, d / "u"), "test")),
    "oxford-pets": ("test", 2, SMALL, lambda d: tv.OxfordIIITPet(unpack(d, d / "u/oxford-iiit-pet").parent, "test")),
    "flowers102": ("test", 3, SMALL, lambda d: tv.Flowers102(unpack(d, d / "u/flowers-102").parent, "test")),
    "dtd": ("test", 2, SMALL, lambda d: tv.DTD(unpack(d, d / "u/dtd").parent, "test")),
    "eurosat": ("test", 6, "native", lambda d: tv.EuroSAT(unpack(d, d / "u/eurosat").parent)),
    "fgvc-aircraft": ("test", 2, SMALL, lambda d: tv.FGVCAircraft(unpack(d, d / "u"), "test")),
    "country211": ("test", 4, SMALL, lambda d: tv.Country211(unpack(d, d / "u"), "test")),
    "caltech256": ("test", 4, SMALL, lambda d: tv.Caltech256(unpack(d, d / "u/caltech256").parent)),
    "imagenet-r": ("test", 4, SMALL, lambda d: tv.ImageFolder(unpack(d, d / "u") / "imagenet-r")),
}


@pytest.mark.parametrize("name", ORACLES)
def test_against_torchvision(name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    split, count, transform, oracle = ORACLES[name]
    getattr(archives, name.replace("-", "_"))(root)
    changes = {"classes": ["andorra", "emirates"]} if name == "country211" else {}
    images, labels, _ = prepare(name, split, count, tmp_path / "out", transform, **changes)
    for kind in (tv.CIFAR10, tv.CIFAR100, tv.STL10, tv.Flowers102):
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    assert len(labels) == count
    assert ours(images, labels) == theirs(oracle(root / name), transform)


def test_stanford_cars_train(root: Path, tmp_path: Path):
    archives.stanford_cars(root)
    _, labels, _ = prepare("stanford-cars", "train", 2, tmp_path / "out", SMALL)
    assert labels.tolist() == [2, 0]


def test_unpacked_is_the_same(root: Path, tmp_path: Path):
    archives.dtd(root)
    first = prepare("dtd", "val", 2, tmp_path / "a", SMALL)
    unpack(root / "dtd", root / "dtd")
    (root / "dtd/dtd-r1.0.1.tar.gz").unlink()
    second = prepare("dtd", "val", 2, tmp_path / "b", SMALL)
    assert np.array_equal(first[0], second[0]) and second[2]["files"] == {"dtd-r1.0.1.tar.gz": "unpacked"}


def same(image: np.ndarray, content: bytes) -> bool:
    """A prepared native image against the file that it was."""
    return np.array_equal(image.transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


def test_tiny_imagenet(root: Path, tmp_path: Path):
    archives.tiny_imagenet(root)
    images, labels, _ = prepare("tiny-imagenet", "train", 4, tmp_path / "train")
    assert labels.tolist() == [0, 0, 1, 1]  # sorted WordNet ids, though wnids.txt says otherwise
    assert same(images[1], archives.picture(1, (64, 64))) and same(images[3], archives.picture(11, (64, 64), mode="L"))
    images, labels, _ = prepare("tiny-imagenet", "test", 3, tmp_path / "val")
    assert labels.tolist() == [0, 1, 0] and same(images[2], archives.picture(52, (64, 64)))


def test_imagenet(root: Path, tmp_path: Path):
    archives.imagenet(root)
    images, labels, _ = prepare("imagenet", "test", 3, tmp_path / "val", SMALL)
    assert labels.tolist() == [0, 1, 0]  # ILSVRC's 2, 1, 2
    whole = T.Compose([T.Resize(16), T.CenterCrop(16)])
    wanted = np.asarray(whole(Image.open(io.BytesIO(archives.picture(62, (40, 30))))))
    assert np.array_equal(images[1].transpose(1, 2, 0), wanted)
    images, labels, facts = prepare("imagenet", "train", 4, tmp_path / "train", SMALL)
    assert labels.tolist() == [0, 0, 1, 1] and "encoded_bytes" in facts and images.shape == (4, 3, 16, 16)
    wanted = np.asarray(whole(Image.open(io.BytesIO(archives.picture(11, (30, 40), "PNG")))))
    assert np.array_equal(images[np.array([3, 0])][0].transpose(1, 2, 0), wanted)


def test_imagenet_in_folders(root: Path, tmp_path: Path):
    for k, key in enumerate(archives.KEYS["imagenet"]):
        for i in range(2):
            path = root / f"imagenet/val/{key}/ILSVRC2012_val_{i}{k}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archives.picture(10 * k + i))
    _, labels, _ = prepare("imagenet", "test", 4, tmp_path / "out", SMALL)
    assert labels.tolist() == [0, 0, 1, 1]


def test_imagenet_v2_counts_its_folders(root: Path, tmp_path: Path):
    archives.imagenet_v2(root)
    classes = [f"class {i}" for i in range(12)]
    images, labels, _ = prepare("imagenet-v2", "test", 12, tmp_path / "out", SMALL, classes=classes, keys=[])
    assert labels.tolist() == list(range(12))  # 10 comes after 9, not after 1
    wanted = T.Compose([T.Resize(16), T.CenterCrop(16)])(Image.open(io.BytesIO(archives.picture(200))))
    assert np.array_equal(images[2].transpose(1, 2, 0), np.asarray(wanted))


def test_pcam(root: Path, tmp_path: Path):
    archives.pcam(root)
    images, labels, _ = prepare("pcam", "test", 5, tmp_path / "out")
    rng = np.random.default_rng(4)
    assert labels.tolist() == [0, 1, 1, 0, 1]
    assert np.array_equal(images.transpose(0, 2, 3, 1), rng.integers(0, 256, (5, 96, 96, 3), np.uint8))


def test_hateful_memes(root: Path, tmp_path: Path):
    archives.hateful_memes(root)
    _, labels, _ = prepare("hateful-memes", "test", 3, tmp_path / "out", SMALL)
    assert labels.tolist() == [1, 0, 1]


def test_caltech101_without_its_background(root: Path, tmp_path: Path):
    archives.caltech101(root)
    images, labels, _ = prepare("caltech101", "test", 4, tmp_path / "out")
    assert labels.tolist() == [0, 0, 1, 1] and same(images[1], archives.picture(2))


def test_ucf101(root: Path, tmp_path: Path):
    archives.ucf101(root)
    images, labels, _ = prepare("ucf101", "test", 1, tmp_path / "out")
    assert labels.tolist() == [0] and same(images[0], archives.picture(1))


COOP = {  # set: (rows of its test split, the labels); names as CoOp writes them
    "eurosat": ([["Forest/Forest_2.jpg", 1, "Forest"], ["AnnualCrop/AnnualCrop_1.jpg", 0, "Annual Crop Land"]], [1, 0]),
    "dtd": ([["polka-dotted/polka-dotted_0001.jpg", 30, "polka-dotted"]], [30]),
    "oxford-pets": ([["american_bulldog_1.jpg", 1, "american_bulldog"]], [1]),
    "flowers102": ([["image_00006.jpg", 4, "english marigold"]], [4]),
    "food101": ([["baby_back_ribs/1008.jpg", 1, "baby_back_ribs"]], [1]),
    "sun397": ([["/a/apse/indoor/sun_aac.jpg", 9, "indoor apse"]], [9]),
    "caltech101": ([["accordion/image_0002.jpg", 3, "accordion"]], [3]),
    "stanford-cars": ([["cars_test/00002.jpg", 195, "2012 smart fortwo Convertible"]], [195]),
}


@pytest.mark.parametrize("name", COOP)
def test_coop_splits(name: str, root: Path, tmp_path: Path):
    getattr(archives, name.replace("-", "_"))(root)
    rows, wanted = COOP[name]
    found = define(f"coop-{name}")
    split = root / name / found.options["split_file"]
    split.write_text(json.dumps({"train": [], "val": [], "test": rows}), encoding="utf-8")
    _, labels, _ = run(spec_of(found, "test", SMALL, len(rows)), tmp_path / "out")
    assert labels.tolist() == wanted


@pytest.mark.parametrize("name", ["caltech101", "dtd", "eurosat", "food101", "sun397"])
def test_coop_labels_by_sorted_folders(name: str):
    """Its code sorts what it lists; the set's own list may stand in another order (cheesecake, cheese_plate)."""
    keys = define(f"coop-{name}").keys
    assert keys and list(keys) == sorted(keys)


def test_coop_refuses_another_order(root: Path, tmp_path: Path):
    archives.dtd(root)
    (root / "dtd/split_zhou_DescribableTextures.json").write_text(
        '{"train": [], "val": [], "test": [["banded/banded_0001.jpg", 3, "banded"]]}',
        encoding="utf-8",
    )
    with pytest.raises(ZsrError, match="label 3 is 'banded' there"):
        run(spec_of(define("coop-dtd"), "test", SMALL, 1), tmp_path / "out")


def test_coop_refuses_another_order_where_keys_are_numbers(root: Path, tmp_path: Path):
    archives.flowers102(root)
    rows = [["image_00006.jpg", 3, "english marigold"]]  # the fifth
    (root / "flowers102/split_zhou_OxfordFlowers.json").write_text(
        json.dumps({"train": [], "val": [], "test": rows}), encoding="utf-8"
    )
    with pytest.raises(ZsrError, match="label 3 is 'englishmarigold' there"):
        run(spec_of(define("coop-flowers102"), "test", SMALL, 1), tmp_path / "out")


def test_base_to_new_halves(root: Path, tmp_path: Path):
    archives.eurosat(root)
    base = define("eurosat", half="base")
    new = define("eurosat", half="new")
    assert (base.classes, new.classes) == (("class 0",), ("class 1",))
    first = run(spec_of(base, "test", "native", 6) | {"count": None}, tmp_path / "base")
    second = run(spec_of(new, "test", "native", 6), tmp_path / "new")
    assert first[1].tolist() == [0, 0, 0] and second[1].tolist() == [0, 0, 0]
    whole = prepare("eurosat", "test", 6, tmp_path / "all")
    assert np.array_equal(np.concatenate([first[0], second[0]]), whole[0])


def test_other_names_of_the_same_classes_keep_what_the_source_calls_them():
    """Without them a reader would take the sorted names that it finds, or know none."""
    table = define("coop-food101")
    named = define("coop-food101", classes=[f"a dish of {name}" for name in table.classes])
    assert named.keys == table.keys and named.classes[0] == "a dish of apple pie"
    assert define("coop-food101", classes=["sweet", "sour"]).keys == ()
    own = [str(i) for i in range(101)]
    assert define("coop-food101", classes=own, keys=own).keys == tuple(own)
    assert define("coop-food101", classes=own, reader="parquet", options={}, splits={"test": 9}).keys == ()


def test_every_set_has_its_miniature():
    tested = {*ORACLES, *(f"coop-{name}" for name in COOP)} | {
        "tiny-imagenet",
        "imagenet",
        "imagenet-v2",
        "pcam",
        "hateful-memes",
        "caltech101",
        "ucf101",
    }
    shared = {"imagenet-a", "imagenet-sketch", "coop-imagenet", "coop-ucf101", "coop-fgvc-aircraft"}  # another's reader
    drawn = {name for name in known_datasets() if name.startswith("drawn-")} | {"handwritten-digits"}
    assert set(known_datasets()) == tested | shared | drawn
