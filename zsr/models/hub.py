"""Gets files of the Hugging Face hub from its cache or the network; one line says it where both fail.

The hub's own variables say where its files lie (HF_HOME, HF_HUB_CACHE) and whether the network may be asked
(HF_HUB_OFFLINE): what `hf download` or open_clip fetched before is used.
"""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

from zsr.errors import ZsrError
from zsr.guard.watch import own

LOCAL = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT)
CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def weights(repository: str, file: str = "", revision: str | None = None) -> Path:
    """The weights of a repository: the named file, or open_clip's usual names; safetensors before pickles."""
    names = (f"{Path(file).with_suffix('')}.safetensors", file) if file else WEIGHTS
    return find_first(repository, dict.fromkeys(names), revision)


def find(repository: str, file: str, revision: str | None = None) -> Path:
    """One file of a repository."""
    return find_first(repository, [file], revision)


def find_first(repository: str, files: Iterable[str], revision: str | None = None) -> Path:
    """The first of several files that is in the cache, or else that the hub has."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache  # 0.3 s
    from huggingface_hub.constants import HF_HOME, HF_HUB_CACHE
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    own(HF_HOME, HF_HUB_CACHE)
    files = list(files)
    source = f"hub repository {repository}" + (f" ({revision})" if revision else "")
    for file in files:
        if isinstance(path := _cached(try_to_load_from_cache, repository, file, revision, source), str):
            return Path(path)
    for file in files:
        try:
            return Path(hf_hub_download(repository, file, revision=revision))
        except RemoteEntryNotFoundError:
            continue
        except OSError as error:
            if getattr(error, "errno", None) in LOCAL:
                raise  # the disk, not the network: the job says which file
            if isinstance(error, GatedRepoError):
                raise ZsrError(f"{source}: gated; accept its licence there and log in with `hf auth login`") from error
            if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
                raise ZsrError(f"{source}: the hub has no such repository or revision; correct its name") from error
            if isinstance(error, HfHubHTTPError):
                raise ZsrError(f"{source}: {file}: the hub answered {_first_line(error)}; try again later") from error
            folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
            raise ZsrError(
                f"{source}: {' or '.join(files)} is not in {folder} and the hub cannot be reached; where there is a "
                f"network run `hf download {repository} {file}` and copy that folder here"
            ) from error
        except HFValidationError as error:
            raise ZsrError(f"{source}: not a name of a repository; write org/model") from error
    raise ZsrError(f"{source}: has none of {', '.join(files)}; it is not in open_clip's format")


def _cached(look: Callable[..., object], repository: str, file: str, revision: str | None, source: str) -> object:
    """The path of a file in the cache, as a text; anything else where it is not there."""
    try:
        return look(repository, file, revision=revision)
    except ValueError as error:  # HFValidationError is one
        raise ZsrError(f"{source}: not a name of a repository; write org/model") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
