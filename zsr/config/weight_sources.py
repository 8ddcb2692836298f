"""Where weights come from: a repository of the hub, or a local file or folder that is named by its content."""

from zsr.config.entries import HubWeights, LocalWeights
from zsr.env_paths import is_repository, path_of
from zsr.errors import ZsrError
from zsr.hashing import encoder_digest, file_digest

HEX = 64


def hub_weights(
    repository: str,
    where: str,
    form: str,
    file: str | None = None,
    revision: str = "",
    quick_gelu: bool | None = None,
) -> HubWeights:
    """A repository of the hub; `form` is how the config writes one there."""
    if not is_repository(repository):
        raise ZsrError(f"{where}: '{repository}' is not a repository of the hub; write {form}")
    return HubWeights(repository, file, revision or None, quick_gelu=quick_gelu)


def local_weights(path: str, sha256: str, where: str, key: str = "", folder: bool = False) -> LocalWeights:
    """A local file, or the folder of a sentence encoder; without its sha256 the error says which it has.

    `key`: of `where`, where the path is written.
    """
    if not sha256:
        raise _unnamed(path, where, key, folder)
    if len(sha256) != HEX or set(sha256) - set("0123456789abcdef"):
        raise ZsrError(f"{where}.sha256: {sha256!r} is not a sha256, 64 hex digits")
    return LocalWeights(sha256, path)


def _unnamed(text: str, where: str, key: str, folder: bool) -> ZsrError:
    place = f"{where}.{key}" if key else where
    path = path_of(text, place)
    if not (path.is_dir() if folder else path.is_file()):
        return ZsrError(f"{place}: {path}: no such {'folder' if folder else 'file'}")
    found = encoder_digest(path) if folder else file_digest(path)
    called, it = (f"`{key}`", "the file") if key else (path.name, "it")
    return ZsrError(f"{where}: say which content {called} must have; {it} has sha256: {found}")
