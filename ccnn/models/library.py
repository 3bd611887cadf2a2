"""Networks of torchvision and timm, with the data set's number of classes and channels."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import torch
from torch import nn

from ccnn.errors import UserError, choices
from ccnn.models.state_dicts import download, load_weights, local_weights


def torchvision_model(
    architecture: str, num_classes: int, in_channels: int = 3, weights: str | None = None, strict: bool = True
) -> nn.Module:
    """A classification network of torchvision.

    Args:
        architecture: one of `torchvision.models.list_models(module=torchvision.models)`.
        num_classes: outputs of the classifier.
        in_channels: of the images; any number but 3 replaces the first convolution.
        weights: null for random ones, a name of torchvision's such as `DEFAULT` or `IMAGENET1K_V2` (downloads),
            or a local file with a state_dict. With torchvision's own weights, GoogLeNet and Inception adapt
            images that are normalised as for ImageNet (`transform_input`), as in torchvision; otherwise not.
        strict: false leaves those layers random whose weights have another shape, for another number of classes
            or channels; true raises.

    Raises:
        UserError: for an unknown network, or weights that do not exist or do not fit.

    Example:
        >>> model = torchvision_model("resnet18", num_classes=10, in_channels=1)
        >>> model(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
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
        state = local_weights(weights)
        if state is None:
            names = models.get_model_weights(architecture).__members__
            if weights not in names:
                raise _no_weights(weights, architecture, names)
            state = download(lambda: names[weights].get_state_dict(progress=False, check_hash=True), weights)
            if hasattr(model, "transform_input"):  # torchvision's own weights of GoogLeNet and Inception want it
                model.transform_input = in_channels == 3
        load_weights(model, state, weights, strict)
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
        state = local_weights(weights)
        if state is None:
            names = [n.partition(".")[2] for n in timm.list_models(f"{architecture}.*", pretrained=True)]
            names = ["DEFAULT", *names] if names else []
            if weights not in names:
                raise _no_weights(weights, architecture, names)
            full = architecture if weights == "DEFAULT" else f"{architecture}.{weights}"
            state = download(lambda: timm.create_model(full, pretrained=True).state_dict(), weights)
        load_weights(model, state, weights, strict)
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
