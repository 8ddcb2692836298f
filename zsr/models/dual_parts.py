"""Reads the parts of a dual encoder from their files, and builds the backbone and its definition from them."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zsr.errors import ZsrError
from zsr.models import sentence_encoder, tensor_file, text_vectors, timm_light
from zsr.models.backbone import Backbone, build, fill
from zsr.models.kinds.dual import Dual
from zsr.storage.unreadable import reading

CLASSIFIER = ("classifier.", "head.", "fc.", "head.fc.", "last_linear.")  # what num_classes=0 leaves out
PROJECTION = ("proj_weight", "proj_bias", "text_mean", "logit_scale")


def text_of(form: str, files: sentence_encoder.Find | Path, where: str) -> tuple[dict, dict[str, Tensor]]:
    """(the definition's `text_cfg`, its tensors), from the one file of stored vectors or the files of an encoder."""
    about, tensors = text_vectors.read(files) if isinstance(files, Path) else sentence_encoder.read(files, where)
    return {"form": form, **about}, tensors


def dimensions(text: dict) -> int:
    """D of the text side's vectors."""
    return text["width"] if text["form"] == "vectors" else text["bert"]["hidden_size"]


def whole(planned: dict, text: dict) -> dict:
    """The definition with what only the files and timm know: sizes, and the file of the architecture."""
    vision = dict(planned["vision_cfg"])
    vision["file"] = timm_light.file_of(vision["timm_model_name"])
    try:
        trunk = timm_light.create(vision["timm_model_name"], vision["file"], vision["settings"]).eval()
        with torch.no_grad():
            shape = trunk(torch.zeros(1, 3, vision["image_size"], vision["image_size"])).shape
    except (TypeError, RuntimeError, AssertionError, ValueError) as error:
        said = " ".join(str(error).split())[:160]
        raise ZsrError(f"image tower {vision['timm_model_name']}: refuses {vision['settings']} ({said})") from error
    if len(shape) != 2:
        raise ZsrError(f"image tower {vision['timm_model_name']}: gives features {list(shape)}, one vector is wanted")
    vision["features"] = shape[1]
    return {**planned, "vision_cfg": vision, "text_cfg": text, "embed_dim": dimensions(text)}


def assemble(
    definition: dict, seed: int, image: dict[str, Tensor], text: dict[str, Tensor], path: Path, text_source: Path | str
) -> Backbone:
    """The model with tower and text filled in; its projection is fresh, a function of the seed."""
    backbone = build(definition, seed)
    clip = _dual(backbone)
    trunk = clip.visual.trunk
    own = trunk.state_dict()
    kept = {name: value for name, value in image.items() if name in own or not name.startswith(CLASSIFIER)}
    parts: tuple[tuple[nn.Module, dict[str, Tensor], Path | str], ...] = (
        (trunk, kept, path),
        (clip.text, text, text_source),
    )
    for module, tensors, source in parts:
        fill(module, tensors, source, whole=True)
        for name, value in module.state_dict().items():
            tensor_file.check_finite(name, value, source)
    return backbone


def _dual(backbone: Backbone) -> Dual:
    """The model of a backbone of this kind."""
    if not isinstance(backbone.clip, Dual):
        raise TypeError("not a dual encoder made of parts")
    return backbone.clip


def projection(path: Path) -> dict[str, np.ndarray]:
    """proj_weight [D, F], proj_bias [D], text_mean [D] and logit_scale, the factor s itself and not its logarithm."""
    arrays = _from_safetensors(path) if path.suffix == ".safetensors" else _from_numpy(path)
    lacking = [name for name in PROJECTION if name not in arrays]
    if lacking:
        raise ZsrError(f"{path}: has no array '{lacking[0]}'; a projection is {', '.join(PROJECTION)}")
    for name in PROJECTION:
        if arrays[name].dtype.kind != "f":
            raise ZsrError(f"{path}: '{name}' is {arrays[name].dtype}; save it as float32")
    return {name: arrays[name] for name in PROJECTION}


def _from_safetensors(path: Path) -> dict[str, np.ndarray]:
    tensors = tensor_file.check_plain(tensor_file.load(path), path)
    return {  # NumPy has no bfloat16, float32 holds the same numbers
        name: (value.float() if value.dtype == torch.bfloat16 else value).numpy() for name, value in tensors.items()
    }


def _from_numpy(path: Path) -> dict[str, np.ndarray]:
    with reading(path, "a projection that can be read"):
        try:
            loaded = np.load(path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is one array; np.savez or safetensors keep several by name")
            with loaded:
                return {name: np.asarray(loaded[name]) for name in loaded.files}
        except ValueError as error:
            if "allow_pickle" in str(error):
                raise ValueError("it holds objects, and zsr runs no pickle") from error
            raise


def project(backbone: Backbone, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Copy a projection that was read into a model."""
    clip = _dual(backbone)
    own: dict[str, Tensor] = {
        "proj_weight": clip.visual.proj.weight,
        "proj_bias": clip.visual.proj.bias,
        "text_mean": clip.text_mean,
    }
    with torch.no_grad():
        for name, tensor in own.items():
            with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused
                value = torch.from_numpy(np.array(arrays[name], np.float32))
            if value.shape != tensor.shape:
                raise ZsrError(
                    f"{path}: '{name}' is {list(value.shape)}, tower and text ask for {list(tensor.shape)}; a "
                    "projection of other parts"
                )
            if not torch.isfinite(value).all():
                raise ZsrError(f"{path}: '{name}' holds values that are not finite in float32; learn it again")
            tensor.copy_(value)
        if arrays["logit_scale"].size != 1:
            raise ZsrError(f"{path}: 'logit_scale' is {list(arrays['logit_scale'].shape)}, one number is wanted")
        scale = arrays["logit_scale"].item()
        if not 0 < scale < math.inf:
            raise ZsrError(f"{path}: its temperature is {scale}; logit_scale is the factor s itself")
        clip.logit_scale.fill_(math.log(scale))
