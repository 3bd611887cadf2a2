"""The single-crop preprocessing that pretrained weights were published with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ccnn.data.crops import SingleCrop
from ccnn.errors import UserError


@dataclass(frozen=True)
class Preprocessing:
    """Turns an image into what a network was trained to see.

    Attributes:
        prepare: colour image of any size → float32, shape (3, size, size).
        size: height and width, pixels.
        text: what is done, and which library says so.
        weights: name of the published weights it belongs to; None for a local file of unknown origin.
    """

    prepare: Callable[[Image.Image], Tensor]
    size: int
    text: str
    weights: str | None


def preprocessing_of(model: Mapping[str, Any], data: Mapping[str, Any]) -> Preprocessing | None:
    """Finds the preprocessing of torchvision's or timm's weights.

    torchvision's own file names identify a local file. Any other file gets the preprocessing of the network's
    default weights, and `text` calls that an assumption.

    Args:
        model: the config's group, with `architecture` and `weights`.
        data: the config's group; its `resize`, `crop`, `mean` and `std` take precedence where not null.

    Returns:
        The preprocessing; None for networks of neither library.

    Raises:
        UserError: the crop is larger than the resized image.
    """
    libraries = {"torchvision_model": _torchvision, "timm_model": _timm}
    find = libraries.get(str(model["_target_"]).rpartition(".")[2])
    if find is None:
        return None
    given = {key: data[key] for key in ("resize", "crop", "mean", "std") if data.get(key) is not None}
    prepare, size, text, source, weights = find(str(model["architecture"]), str(model["weights"]), given)
    text += f"; as {source} wants it" if weights else f"; assumed, as {source} wants it: a file does not tell"
    if given:
        text += f"; changed by {', '.join(f'data.{key}' for key in given)}"
    return Preprocessing(prepare, size, text, weights)


_Found = tuple[Callable[[Image.Image], Tensor], int, str, str, str | None]
"""The transform, its size, its description, whose weights want it, and their name if these are the weights."""


def _torchvision(architecture: str, weights: str, given: Mapping[str, Any]) -> _Found:
    known = import_module("torchvision.models").get_model_weights(architecture)
    own = known.__members__.get(weights) or next(
        (member for member in known if member.url.endswith(f"/{Path(weights).name}")), None
    )
    source = own or known.DEFAULT
    preset = source.transforms()
    crop = SingleCrop(
        resize=given.get("resize", preset.resize_size[0]),
        crop=given.get("crop", preset.crop_size[0]),
        mean=tuple(given.get("mean", preset.mean)),
        std=tuple(given.get("std", preset.std)),
        interpolation=preset.interpolation.value,
    )
    _check(crop.resize, crop.crop)
    whose = f"torchvision's {type(source).__name__}.{source.name}"
    return crop, crop.crop, str(crop), whose, own.name if own else None


def _timm(architecture: str, weights: str, given: Mapping[str, Any]) -> _Found:
    timm = import_module("timm")
    is_file = Path(weights).expanduser().is_file()
    tag = None if is_file or weights == "DEFAULT" else weights
    published = timm.get_pretrained_cfg(".".join(filter(None, [architecture, tag])))
    wanted = timm.data.resolve_data_config(pretrained_cfg=published.to_dict() if published else {})
    wanted |= {key: tuple(given[key]) for key in ("mean", "std") if key in given}
    crop = given.get("crop", wanted["input_size"][-1])
    if "crop" in given or "resize" in given:
        resize = given.get("resize", int(crop / wanted["crop_pct"]))
        _check(resize, crop)
        # timm rounds crop / crop_pct down: half a pixel keeps it from falling short by one.
        wanted |= {"input_size": (3, crop, crop), "crop_pct": crop / (resize + 0.5)}
    mean, std = (" ".join(f"{value:g}" for value in wanted[key]) for key in ("mean", "std"))
    text = (
        f"shorter side to {int(crop / wanted['crop_pct'])} pixels ({wanted['interpolation']}), "
        f"{wanted['crop_mode']} crop of {crop}×{crop}, mean {mean}, std {std}"
    )
    whose = f"timm's {'.'.join(filter(None, [architecture, published and published.tag]))}"
    return timm.data.create_transform(**wanted), crop, text, whose, None if is_file else tag or "DEFAULT"


def _check(resize: int, crop: int) -> None:
    if crop > resize:
        raise UserError(
            f"data.crop is {crop}, more than the shorter side of {resize} pixels; set data.resize too."
        )
