"""What pretrained weights want done to an image: the single-crop preprocessing that they were published with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ccnn.data.crops import SingleCrop
from ccnn.errors import UserError

GIVEN = ("resize", "crop", "mean", "std")
"""The keys of `data` that stand above what the weights want, where they are not null."""


@dataclass(frozen=True)
class Preprocessing:
    """Makes of an image what a network was trained to see.

    Attributes:
        prepare: of a colour image of any size, float32, shape (3, size, size).
        size: height and width, pixels.
        text: what is done, and on whose word.
        weights: name of the published weights it belongs to; None if a local file does not tell.
    """

    prepare: Callable[[Image.Image], Tensor]
    size: int
    text: str
    weights: str | None


def preprocessing_of(model: Mapping[str, Any], data: Mapping[str, Any]) -> Preprocessing | None:
    """Finds the preprocessing of torchvision's or timm's weights.

    A local file is known by the name under which torchvision publishes it; any other is taken for one that wants
    what the network's default weights want, and the text says so.

    Args:
        model: the config's group, with `architecture` and `weights`.
        data: the config's group; its `resize`, `crop`, `mean` and `std` come first where they are not null.

    Returns:
        The preprocessing; None for networks of other origin.

    Raises:
        UserError: the crop is larger than the resized image.
    """
    find = {"torchvision_model": _torchvision, "timm_model": _timm}.get(str(model["_target_"]).rpartition(".")[2])
    if find is None:
        return None
    given = {key: data[key] for key in GIVEN if data.get(key) is not None}
    found = find(str(model["architecture"]), str(model["weights"]), given)
    if not given:
        return found
    text = f"{found.text}, but for {', '.join(f'data.{key}' for key in given)}"
    return Preprocessing(found.prepare, found.size, text, found.weights)


def _torchvision(architecture: str, weights: str, given: Mapping[str, Any]) -> Preprocessing:
    known = import_module("torchvision.models").get_model_weights(architecture)
    own = known.__members__.get(weights)
    if own is None:  # a file
        own = next((member for member in known if member.url.endswith(f"/{Path(weights).name}")), None)
    source = own or known.DEFAULT
    preset = source.transforms()
    wanted = SingleCrop(
        resize=given.get("resize", preset.resize_size[0]),
        crop=given.get("crop", preset.crop_size[0]),
        mean=tuple(given.get("mean", preset.mean)),
        std=tuple(given.get("std", preset.std)),
        interpolation=preset.interpolation.value,
    )
    _check(wanted.resize, wanted.crop)
    text = f"{wanted}; {_whose('torchvision', f'{type(source).__name__}.{source.name}', own is None)}"
    return Preprocessing(wanted, wanted.crop, text, own.name if own else None)


def _timm(architecture: str, weights: str, given: Mapping[str, Any]) -> Preprocessing:
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
    name = ".".join(filter(None, [architecture, published and published.tag]))
    text = (
        f"shorter side to {int(crop / wanted['crop_pct'])} pixels ({wanted['interpolation']}), "
        f"{wanted['crop_mode']} crop of {crop}×{crop}, mean {mean}, std {std}; "
        f"{_whose('timm', name, is_file)}"
    )
    return Preprocessing(timm.data.create_transform(**wanted), crop, text, None if is_file else tag or "DEFAULT")


def _check(resize: int, crop: int) -> None:
    if crop > resize:
        raise UserError(
            f"data.crop is {crop}, more than the shorter side of {resize} pixels; set data.resize too."
        )


def _whose(library: str, name: str, unknown: bool) -> str:
    if unknown:
        return f"assumed, as {library}'s {name} wants it, since a file does not tell"
    return f"as {library}'s {name} wants it"
