"""Bytes that are not what a file name promises."""

import io
import zipfile

HTML = b"<!DOCTYPE html><html><head><title>Proxy</title></head><body>407 Authentication Required</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zip_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()
