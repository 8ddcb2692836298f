"""Miniatures of the papers' archives, in exactly the original layout: names, nesting, annotation formats, quirks."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

KEYS = {  # the miniature's classes, where the source has names of its own
    "tiny-imagenet": ["n01443537", "n01629819"],
    "imagenet": ["n01440764", "n01443537"],
    "imagenet-r": ["n01443537", "n01484850"],
    "sun397": ["a/abbey", "a/apse/indoor"],
    "food101": ["apple_pie", "baby_back_ribs"],
    "dtd": ["banded", "polka-dotted"],
    "eurosat": ["AnnualCrop", "Forest"],
    "fgvc-aircraft": ["707-320", "F-16A/B"],
    "caltech101": ["Faces", "accordion"],
    "caltech256": ["001.ak47", "002.american-flag"],
}


def picture(seed: int, size: tuple[int, int] = (21, 18), kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """A small picture of noise."""
    rng = np.random.default_rng(seed)
    channels = {"RGB": (3,), "CMYK": (4,), "L": ()}[mode]
    pixels = rng.integers(0, 256, (size[1], size[0], *channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, kind)
    return file.getvalue()


def tar(path: Path | io.BytesIO, files: Mapping[str, bytes], mode: str = "w:gz") -> None:
    path = path if not isinstance(path, Path) else _parent(path)
    opened = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode=mode, **opened) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def zipped(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(_parent(path), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def mat(**values: object) -> bytes:
    file = io.BytesIO()
    savemat(file, values)
    return file.getvalue()


def records(rows: list[dict[str, object]]) -> np.ndarray:
    """A MATLAB array of structs."""
    kinds = [(name, object) for name in rows[0]]
    return np.array([tuple(row.values()) for row in rows], dtype=kinds).reshape(1, -1)


def cifar10(root: Path) -> None:
    rng = np.random.default_rng(1)
    files = {"cifar-10-batches-py/batches.meta": pickle.dumps({"label_names": ["airplane"]})}
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        data = rng.integers(0, 256, (3, 3072), np.uint8)
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps({"data": data, "labels": [i, 9, 0]}, protocol=2)
    tar(root / "cifar10/cifar-10-python.tar.gz", files)


def cifar100(root: Path) -> None:
    rng = np.random.default_rng(2)
    files = {"cifar-100-python/meta": pickle.dumps({"fine_label_names": ["apple"]})}
    for name in ("train", "test"):
        batch = {
            "data": rng.integers(0, 256, (4, 3072), np.uint8),
            "fine_labels": [0, 99, 5, 7],
            "coarse_labels": [0] * 4,
        }
        files[f"cifar-100-python/{name}"] = pickle.dumps(batch, protocol=2)
    tar(root / "cifar100/cifar-100-python.tar.gz", files)


def stl10(root: Path) -> None:
    rng = np.random.default_rng(3)
    files = {"stl10_binary/class_names.txt": b"airplane\nbird\n", "stl10_binary/fold_indices.txt": b"0 1\n"}
    for split, count in (("train", 2), ("test", 3)):
        files[f"stl10_binary/{split}_X.bin"] = rng.integers(0, 256, count * 3 * 96 * 96, np.uint8).tobytes()
        files[f"stl10_binary/{split}_y.bin"] = np.array([10, 1, 2][:count], np.uint8).tobytes()
    tar(root / "stl10/stl10_binary.tar.gz", files)


def tiny_imagenet(root: Path) -> None:
    top, keys = "tiny-imagenet-200", KEYS["tiny-imagenet"]
    files = {f"{top}/wnids.txt": "\n".join(reversed(keys)).encode()}
    for k, key in enumerate(keys):
        files[f"{top}/train/{key}/{key}_boxes.txt"] = b"x\t0\t0\t9\t9\n"
        for i in range(2):
            mode = "L" if k and i else "RGB"  # some are grey
            files[f"{top}/train/{key}/images/{key}_{i}.JPEG"] = picture(10 * k + i, (64, 64), mode=mode)
    lines = []
    for i in range(3):
        files[f"{top}/val/images/val_{i}.JPEG"] = picture(50 + i, (64, 64))
        lines.append(f"val_{i}.JPEG\t{keys[i % 2]}\t0\t32\t44\t62\n")
    files[f"{top}/val/val_annotations.txt"] = "".join(lines).encode()
    files[f"{top}/test/images/test_0.JPEG"] = picture(99, (64, 64))
    zipped(root / "tiny-imagenet/tiny-imagenet-200.zip", files)


def imagenet(root: Path) -> None:
    keys = KEYS["imagenet"]
    inner = {}
    for k, key in enumerate(keys):
        file = io.BytesIO()
        kind = "PNG" if k else "JPEG"  # one .JPEG of the original is a PNG
        tar(file, {f"{key}_{i}.JPEG": picture(10 * k + i, (30, 40), kind) for i in range(2)}, "w")
        inner[f"{key}.tar"] = file.getvalue()
    tar(root / "imagenet/ILSVRC2012_img_train.tar", inner, "w")
    val = {f"ILSVRC2012_val_{i:08d}.JPEG": picture(60 + i, (40, 30)) for i in (1, 2, 3)}
    tar(root / "imagenet/ILSVRC2012_img_val.tar", val, "w")
    synsets = records(  # ILSVRC's own numbers are not in the order of the WordNet ids; inner nodes follow the leaves
        [
            {"ILSVRC2012_ID": 1, "WNID": keys[1], "words": "goldfish", "num_children": 0},
            {"ILSVRC2012_ID": 2, "WNID": keys[0], "words": "tench", "num_children": 0},
            {"ILSVRC2012_ID": 1001, "WNID": "n00001740", "words": "entity", "num_children": 2},
        ]
    )
    kit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": mat(synsets=synsets),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": b"2\n1\n2\n",
    }
    tar(root / "imagenet/ILSVRC2012_devkit_t12.tar.gz", kit)


def imagenet_r(root: Path) -> None:
    files = {"imagenet-r/README.txt": b"renditions"}
    for k, key in enumerate(KEYS["imagenet-r"]):
        files |= {f"imagenet-r/{key}/{kind}_{i}.jpg": picture(k + i) for i, kind in enumerate(("art", "toy"))}
    tar(root / "imagenet-r/imagenet-r.tar", files, "w")


def imagenet_v2(root: Path) -> None:
    top = "imagenetv2-matched-frequency-format-val"
    tar(
        root / "imagenet-v2/imagenetv2-matched-frequency.tar.gz",
        {f"{top}/{k}/{i}.jpeg": picture(100 * k + i) for k in range(12) for i in range(1)},
    )


def sun397(root: Path) -> None:
    names = ["a/abbey/sun_aaa.jpg", "a/abbey/sun_aab.jpg", "a/apse/indoor/sun_aac.jpg"]
    files = {f"SUN397/{name}": picture(i) for i, name in enumerate(names)}
    files["SUN397/ClassName.txt"] = b"/a/abbey\n/a/apse/indoor\n"
    tar(root / "sun397/SUN397.tar.gz", files)


def stanford_cars(root: Path) -> None:
    base = root / "stanford-cars"
    box = {"bbox_x1": 1, "bbox_y1": 1, "bbox_x2": 9, "bbox_y2": 9}
    for split, labels in (("train", [3, 1]), ("test", [2, 196, 1])):
        tar(base / f"cars_{split}.tgz", {f"cars_{split}/{i:05d}.jpg": picture(i) for i in range(1, len(labels) + 1)})
        rows = [{**box, "class": label, "fname": f"{i:05d}.jpg"} for i, label in enumerate(labels, 1)]
        if split == "train":
            tar(
                base / "car_devkit.tgz",
                {
                    "devkit/cars_train_annos.mat": mat(annotations=records(rows)),
                    "devkit/cars_meta.mat": mat(class_names=np.array(["a", "b"], dtype=object)),
                },
            )
        else:
            (base / "cars_test_annos_withlabels.mat").write_bytes(mat(annotations=records(rows)))


def food101(root: Path) -> None:
    meta = {"train": {}, "test": {}}
    files = {}
    for k, key in enumerate(KEYS["food101"]):
        for i, split in enumerate(("train", "test", "test")):
            name = f"{key}/{1000 * k + 10 - i}"
            meta[split].setdefault(key, []).append(name)
            files[f"food-101/images/{name}.jpg"] = picture(10 * k + i)
    for split, listed in meta.items():
        files[f"food-101/meta/{split}.json"] = json.dumps(listed).encode()
    tar(root / "food101/food-101.tar.gz", files)


def oxford_pets(root: Path) -> None:
    base = root / "oxford-pets"
    names = ["Abyssinian_100", "american_bulldog_1", "Abyssinian_2"]
    tar(
        base / "images.tar.gz",
        {**{f"images/{n}.jpg": picture(i) for i, n in enumerate(names)}, "images/Abyssinian_1.mat": b"x"},
    )
    lists = {"trainval": f"{names[0]} 1 1 1\n", "test": f"{names[1]} 2 2 1\n{names[2]} 1 1 1\n"}
    tar(base / "annotations.tar.gz", {f"annotations/{k}.txt": v.encode() for k, v in lists.items()})


def flowers102(root: Path) -> None:
    base = root / "flowers102"
    tar(base / "102flowers.tgz", {f"jpg/image_{i:05d}.jpg": picture(i) for i in range(1, 7)})
    (base / "imagelabels.mat").write_bytes(mat(labels=np.array([[77, 1, 102, 3, 4, 5]], np.uint8)))
    (base / "setid.mat").write_bytes(mat(trnid=np.array([[2]]), valid=np.array([[4]]), tstid=np.array([[6, 3, 1]])))


def dtd(root: Path) -> None:
    files = {f"dtd/images/{k}/{k}_{i:04d}.jpg": picture(i) for k in KEYS["dtd"] for i in (1, 2, 3)}
    for i, split in enumerate(("train", "val", "test"), 1):
        files[f"dtd/labels/{split}1.txt"] = "".join(f"{k}/{k}_{i:04d}.jpg\n" for k in KEYS["dtd"]).encode()
    tar(root / "dtd/dtd-r1.0.1.tar.gz", files)


def eurosat(root: Path) -> None:
    zipped(
        root / "eurosat/EuroSAT.zip",
        {f"2750/{k}/{k}_{i}.jpg": picture(i, (64, 64)) for k in KEYS["eurosat"] for i in (1, 10, 2)},
    )


def fgvc_aircraft(root: Path) -> None:
    top = "fgvc-aircraft-2013b/data"
    files = {f"{top}/images/{i:07d}.jpg": picture(i) for i in range(4)}
    files[f"{top}/variants.txt"] = "\n".join(KEYS["fgvc-aircraft"]).encode() + b"\n"
    files[f"{top}/images_variant_train.txt"] = b"0000000 707-320\n"
    files[f"{top}/images_variant_test.txt"] = b"0000003 F-16A/B\n0000001 707-320\n"
    tar(root / "fgvc-aircraft/fgvc-aircraft-2013b.tar.gz", files)


def pcam(root: Path) -> None:
    import h5py

    rng = np.random.default_rng(4)
    for part, values in (
        ("x", rng.integers(0, 256, (5, 96, 96, 3), np.uint8)),
        ("y", np.array([0, 1, 1, 0, 1]).reshape(5, 1, 1, 1)),
    ):
        file = io.BytesIO()
        with h5py.File(file, "w") as made:
            made[part] = values
        path = _parent(root / f"pcam/camelyonpatch_level_2_split_test_{part}.h5.gz")
        path.write_bytes(gzip.compress(file.getvalue()))


def hateful_memes(root: Path) -> None:
    files = {f"data/img/{i:05d}.png": picture(i, kind="PNG") for i in (1, 2, 3)}
    rows = [{"id": i, "img": f"img/{i:05d}.png", "label": i % 2, "text": "größe"} for i in (1, 2, 3)]
    files["data/test_seen.jsonl"] = b"\n".join(json.dumps(row).encode() for row in rows[:2])
    files["data/test_unseen.jsonl"] = json.dumps(rows[2]).encode()
    zipped(root / "hateful-memes/hateful_memes.zip", files)


def caltech101(root: Path) -> None:
    files = {f"101_ObjectCategories/{k}/image_{i:04d}.jpg": picture(i) for k in KEYS["caltech101"] for i in (1, 2)}
    files["101_ObjectCategories/BACKGROUND_Google/image_0001.jpg"] = picture(9)
    files["101_ObjectCategories/BACKGROUND_Google/tmp"] = b""
    file = io.BytesIO()
    tar(file, files)
    inner = {
        "caltech-101/101_ObjectCategories.tar.gz": file.getvalue(),
        "caltech-101/Annotations.tar": b"",
        "__MACOSX/caltech-101/._x": b"x",
    }
    zipped(root / "caltech101/caltech-101.zip", inner)


def caltech256(root: Path) -> None:
    keys = KEYS["caltech256"]
    files = {f"256_ObjectCategories/{k}/{k[:3]}_{i:04d}.jpg": picture(i) for k in keys for i in (1, 2)}
    files[f"256_ObjectCategories/{keys[0]}/RENAME2"] = b"leftover"  # 198.spider has one
    tar(root / "caltech256/256_ObjectCategories.tar", files, "w")


def country211(root: Path) -> None:
    tar(
        root / "country211/country211.tgz",
        {
            f"country211/{s}/{k}/{i}.jpg": picture(i)
            for s in ("train", "test", "valid")
            for k in ("AD", "AE")
            for i in (1, 2)
        },
    )


def ucf101(root: Path) -> None:
    name = "Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg"
    zipped(root / "ucf101/UCF-101-midframes.zip", {f"UCF-101-midframes/{name}": picture(1)})
    split = {"train": [], "val": [], "test": [[name, 0, "Apply_Eye_Makeup"]]}
    (root / "ucf101/split_zhou_UCF101.json").write_text(json.dumps(split), encoding="utf-8")
