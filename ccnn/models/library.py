"""Networks of torchvision and timm, with the data set's number of classes and channels."""

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ccnn.errors import UserError, choices


def torchvision_model(
    architecture: str, num_classes: int, in_channels: int = 3, weights: str | None = None, strict: bool = True
) -> nn.Module:
    """A classification network of torchvision.

    Args:
        architecture: one of `torchvision.models.list_models(module=torchvision.models)`.
        num_classes: outputs of the classifier.
        in_channels: of the images. Other than 3 replaces the first convolution.
        weights: null for random ones, a name of torchvision's such as `DEFAULT` or `IMAGENET1K_V2` (downloads),
            or a local file with a state_dict. With torchvision's own weights, GoogLeNet and Inception adapt
            images that are normalised as for ImageNet (`transform_input`), as in torchvision; otherwise not.
        strict: false starts those layers anew whose weights have another shape, as of another number of
            classes or channels; true refuses them.

    Raises:
        UserError: for an unknown network, or weights that do not exist or do not fit.
    """
    models = import_module("torchvision.models")
    known = models.list_models(module=models)
    if architecture not in known:
        raise UserError(f"model.name: torchvision has no network {architecture!r}; {choices(architecture, known)}")
    # By default these two take minutes to initialise, and warn that this is going to change.
    slow = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    model = models.get_model(architecture, weights=None, num_classes=num_classes, **slow)
    if in_channels != 3:
        _replace_stem(model, in_channels)
    if weights is not None:
        state = _file(weights)
        if state is None:
            names = models.get_model_weights(architecture).__members__
            if weights not in names:
                raise _no_weights(weights, architecture, names)
            state = _download(lambda: names[weights].get_state_dict(progress=False, check_hash=True), weights)
            if hasattr(model, "transform_input"):  # torchvision's own weights of GoogLeNet and Inception want it
                model.transform_input = in_channels == 3
        _load(model, state, weights, strict)
    return model


def timm_model(
    architecture: str, num_classes: int, in_channels: int = 3, weights: str | None = None, strict: bool = True
) -> nn.Module:
    """A network of timm (`pip install -e '.[timm]'`).

    Args:
        architecture: one of `timm.list_models()`.
        num_classes: outputs of the classifier.
        in_channels: of the images.
        weights: null for random ones, `DEFAULT` or the tag of a timm checkpoint such as `a1_in1k` (downloads),
            or a local file with a state_dict.
        strict: as in `torchvision_model`.

    Raises:
        UserError: timm is not installed, or as in `torchvision_model`.
    """
    timm = _timm()
    known = timm.list_models(include_tags=False)
    if architecture not in known:
        raise UserError(f"model.name: timm has no network {architecture!r}; {_near(architecture, known)}")
    model: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=num_classes, in_chans=in_channels
    )
    if weights is not None:
        state = _file(weights)
        if state is None:
            names = [n.partition(".")[2] for n in timm.list_models(f"{architecture}.*", pretrained=True)]
            names = ["DEFAULT", *names] if names else []
            if weights not in names:
                raise _no_weights(weights, architecture, names)
            full = architecture if weights == "DEFAULT" else f"{architecture}.{weights}"
            state = _download(lambda: timm.create_model(full, pretrained=True).state_dict(), weights)
        _load(model, state, weights, strict)
    return model


def _timm() -> ModuleType:
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        raise UserError("model=timm: timm is not installed; run: pip install -e '.[timm]'") from error


def _near(name: str, known: Iterable[str]) -> str:
    """Near names; timm has too many to list."""
    near, found, _ = choices(name, known).partition("? Choices")
    return f"{near}? `timm.list_models()` has all." if found else "`timm.list_models()` has all."


def _replace_stem(model: nn.Module, in_channels: int) -> None:
    """Gives the first convolution another number of input channels, and new weights."""
    stem = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    stem.in_channels = in_channels
    stem.weight = nn.Parameter(torch.empty(stem.out_channels, in_channels, *stem.kernel_size))
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    if getattr(model, "transform_input", False):  # of three colours, in GoogLeNet and Inception
        setattr(model, "transform_input", False)  # noqa: B010


def _no_weights(weights: str, architecture: str, names: Iterable[str]) -> UserError:
    known = list(names)
    instead = choices(weights, known) if known else "it comes without any, use weights=null."
    return UserError(
        f"model.weights: no file {weights!r}, and no weights of {architecture} by that name; {instead}"
    )


def _download(get: Callable[[], dict[str, Any]], weights: str) -> dict[str, Any]:
    """Gets weights from the network, or from where an earlier download has left them.

    torchvision and timm let torch unpickle whatever a file holds, some or all of the time; torch is told not to.
    """
    forced = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(forced)
    os.environ[forced] = "1"
    try:
        return get()
    except UnpicklingError as error:
        raise UserError(
            f"model.weights: the file of {weights!r} was refused, it is damaged, or holds more than tensors and "
            f"may be an attack; nothing in it was run. Delete it in {torch.hub.get_dir()}, to download it anew."
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"model.weights: {weights!r} cannot be downloaded: {reason}. Without a network, give a local file."
        ) from error
    finally:
        if before is None:
            del os.environ[forced]
        else:
            os.environ[forced] = before


def _file(weights: str) -> dict[str, Any] | None:
    """The state_dict in a local file; None if there is no such file and the text does not look like one."""
    path = Path(weights).expanduser()
    if not path.is_file():
        if path.parent != Path() or path.suffix in (".pt", ".pth", ".ckpt", ".bin", ".safetensors"):
            raise UserError(f"model.weights: there is no file {weights!r}.")
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise UserError(
            f"model.weights: {weights!r} does not hold a state_dict of tensors; "
            "write one with torch.save(model.state_dict(), …)."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):  # a checkpoint of a run
        state = {name.removeprefix("model."): value for name, value in state["state_dict"].items()}
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"model.weights: {weights!r} does not hold a state_dict of tensors.")
    return state


def _load(model: nn.Module, state: dict[str, Any], weights: str, strict: bool) -> None:
    """Loads a state_dict that has the network's names.

    Auxiliary heads that only one of both has are left alone.
    """
    own = model.state_dict()
    missing = [n for n in own.keys() - state.keys() if not _optional(n)]
    unknown = [n for n in state.keys() - own.keys() if not _optional(n)]
    if missing or unknown:
        raise UserError(
            f"model.weights: {weights!r} is of another network: it lacks {_some(missing)} and has "
            f"{_some(unknown)} besides."
        )
    differ = {n: v for n, v in state.items() if n in own and v.shape != own[n].shape}
    if differ and strict:
        name = sorted(differ)[0]
        raise UserError(
            f"model.weights: {weights!r} does not fit: {name} has the shape {tuple(differ[name].shape)}, expected "
            f"{tuple(own[name].shape)}{f', and {len(differ) - 1} more' if differ.keys() - {name} else ''}. Where "
            "classes or channels differ, model.strict=false starts these layers anew."
        )
    model.load_state_dict({n: v for n, v in state.items() if n in own and n not in differ}, strict=False)


def _optional(name: str) -> bool:
    return name.startswith(("AuxLogits.", "aux1.", "aux2.")) or name.endswith(".num_batches_tracked")


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:3]) + ("…" if len(names) > 3 else "") if names else "nothing"
