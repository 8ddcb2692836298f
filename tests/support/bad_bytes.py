"""Bytes that are not what a file name promises."""

import gzip
import io
import zipfile
from collections.abc import Callable

import numpy as np

from support import archives

HTML = b"<!DOCTYPE html><html><head><title>Proxy</title></head><body>407 Authentication Required</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zip_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "web page": lambda _: HTML,
    "pointer": lambda _: LFS,
    "cut": lambda good: good[: len(good) // 2],
    "garbage": lambda good: np.random.default_rng(0).bytes(len(good)),
    "gzip of a web page": lambda _: gzip.compress(HTML),
    "zip of something else": lambda _: zip_of({"a.txt": b"text"}),
    "tar of something else": lambda _: tar_of({"a.txt": b"text"}),
}
SAYS = {
    "missing": "missing; ",
    "empty": "it is empty",
    "web page": "it is a web page",
    "pointer": "it is a pointer of Git LFS",
}


def tar_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    archives.tar(file, files)
    return file.getvalue()
