"""The files of a dual encoder's parts, found and checked, and the model that they make."""

from dataclasses import dataclass
from pathlib import Path

from zsr.errors import ZsrError
from zsr.guard.watch import own
from zsr.hashing import encoder_digest, file_digest
from zsr.models import dual_parts, hub, sentence_encoder, weights
from zsr.models.backbone import Backbone

IMAGE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # as timm's repositories have them


@dataclass(frozen=True)
class TextFiles:
    """The text side: one file of vectors, or what finds the files of a sentence encoder."""

    label: str  # for errors
    files: sentence_encoder.Find | Path

    def digest(self) -> str:
        """The sha256 of the vectors, or of the encoder's weights."""
        path = self.files if isinstance(self.files, Path) else self.files(sentence_encoder.WEIGHTS)
        return file_digest(path)


def build_dual(
    planned: dict, seed: int, weights_from: dict[str, dict], image: Path | None, text: Path | None
) -> tuple[Backbone, dict, dict[str, str]]:
    """(the dual encoder with a fresh projection, its definition, the sha256 of each part).

    `image` and `text` are the local files; without them the hub's are used.
    """
    form = planned["text_cfg"]["form"]
    text_files = find_text(weights_from["text"], form, text)
    text_config, text_tensors = dual_parts.text_of(form, text_files.files, text_files.label)
    path = find_image(weights_from["image"], image)
    definition = dual_parts.whole(planned, text_config)
    image_tensors, _ = weights.read(path)
    backbone = dual_parts.assemble(definition, seed, image_tensors, text_tensors, path, text_files.label)
    return backbone, definition, {"image": file_digest(path), "text": text_files.digest()}


def find_image(weights_from: dict, file: Path | None) -> Path:
    """The image tower's weights, checked."""
    if file is None:
        return hub.find_first(weights_from["hub"], IMAGE_WEIGHTS, weights_from.get("revision"))
    weights.check(file, weights_from["sha256"])
    return file


def find_text(weights_from: dict, form: str, file: Path | None) -> TextFiles:
    """The text side's files, checked; `file` is one of vectors, or any file of a sentence encoder's folder."""
    if file is None:
        repository, revision = weights_from["hub"], weights_from.get("revision")
        return TextFiles(f"hub repository {repository}", lambda name: hub.find(repository, name, revision))
    if form == "vectors":
        weights.check(file, weights_from["sha256"])
        return TextFiles(str(file), file)
    folder = file.parent
    own(folder)
    if (digest := encoder_digest(folder)) != weights_from["sha256"]:
        raise ZsrError(
            f"{folder}: its sha256 is {digest}, the config says {weights_from['sha256']}; other files, or damaged"
        )
    return TextFiles(str(folder), finder(folder))


def finder(folder: Path) -> sentence_encoder.Find:
    """What finds the files of a sentence encoder in a folder, by name."""

    def find(name: str) -> Path:
        if not (folder / name).is_file():
            raise ZsrError(f"{folder / name}: no such file")
        return folder / name

    return find
