"""Pretrained weights for a network: read from a file or downloaded, whatever wraps them."""

import argparse
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ccnn.errors import UserError

# Entries of checkpoints that hold the weights: torchvision's and timm's references, Lightning, and what people
# write by hand. Averaged weights come first: they are the ones that such checkpoints are scored with.
_ENTRIES = ("model_ema", "state_dict_ema", "state_dict", "model", "net", "model_state_dict")

# In front of names, from DataParallel and DDP, torch.compile, and a network that is a LightningModule's attribute.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def local_weights(weights: str) -> dict[str, Tensor] | None:
    """Reads the state_dict in a local file: a plain one, or one in a checkpoint of torchvision, timm or Lightning.

    Args:
        weights: the file's name.

    Returns:
        The state_dict, with the names in the file; None if there is no such file and the text does not look like
        a file's name.

    Raises:
        UserError: there is no such file, or it holds no state_dict of tensors; nothing in it is run.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        if path.parent != Path() or path.suffix in (".pt", ".pth", ".ckpt", ".bin", ".safetensors"):
            raise UserError(f"model.weights: there is no file {weights!r}.")
        return None
    try:
        if path.suffix == ".safetensors":
            state = _safetensors(path)
        else:
            # Checkpoints of torchvision's and timm's scripts hold their arguments beside the weights.
            with torch.serialization.safe_globals([argparse.Namespace]):
                state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise _no_state(weights) from error
    while isinstance(state, Mapping) and (key := next((key for key in _ENTRIES if key in state), None)):
        if not isinstance(state[key], Mapping):
            break
        state = state[key]
    if not isinstance(state, Mapping) or not state:
        raise _no_state(weights)
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise _no_state(weights)
    return dict(state)


def _safetensors(path: Path) -> Any:
    try:
        safetensors, tensors = import_module("safetensors"), import_module("safetensors.torch")
    except ModuleNotFoundError as error:
        raise UserError("model.weights: safetensors is not installed; run: pip install safetensors") from error
    try:
        return tensors.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error


def _no_state(weights: str) -> UserError:
    return UserError(
        f"model.weights: {weights!r} does not hold a state_dict of tensors; write one with "
        "torch.save(model.state_dict(), …)."
    )


def download(get: Callable[[], dict[str, Any]], weights: str) -> dict[str, Any]:
    """Gets weights from the network, or from the cache of an earlier download.

    Raises:
        UserError: they cannot be downloaded, or the file holds more than tensors; nothing in it was run.
    """
    # torchvision and timm let torch unpickle whatever a file holds, some or all of the time; this forbids it.
    forced = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(forced)
    os.environ[forced] = "1"
    try:
        return get()
    except UnpicklingError as error:
        raise UserError(
            f"model.weights: the file of {weights!r} was refused, it is damaged, or holds more than tensors and "
            f"may be an attack; nothing in it was run. Delete it in {torch.hub.get_dir()} to download it again."
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


def load_weights(model: nn.Module, state: Mapping[str, Tensor], weights: str, strict: bool) -> None:
    """Loads a state_dict whose names are the network's, maybe behind the prefixes that wrappers add.

    Auxiliary heads that only one of both has are left alone.

    Args:
        model: the network, changed in place.
        state: the weights.
        weights: what to call them in messages.
        strict: false leaves layers as they are whose weights have another shape; true raises.

    Raises:
        UserError: the weights are of another network.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> state = {"module._orig_mod.weight": torch.ones(1, 2), "module._orig_mod.bias": torch.zeros(1)}
        >>> load_weights(layer, state, "weights.pth", strict=True)
        >>> layer.weight.tolist()
        [[1.0, 1.0]]
    """
    own = model.state_dict()
    state = {_own_name(name, own): value for name, value in state.items()}
    missing = [n for n in own.keys() - state.keys() if not _optional(n)]
    unknown = [n for n in state.keys() - own.keys() if not _optional(n)]
    if missing or unknown:
        raise UserError(
            f"model.weights: {weights!r} is of another network: it lacks {_some(missing)} and has "
            f"{_some(unknown)} besides."
        )
    differ = {n: v for n, v in state.items() if n in own and v.shape != own[n].shape}
    if differ and strict:
        name, *others = sorted(differ)
        raise UserError(
            f"model.weights: {weights!r} does not fit: {name} has the shape {tuple(differ[name].shape)}, expected "
            f"{tuple(own[name].shape)}{f', and {len(others)} more' if others else ''}. Where classes or channels "
            "differ, model.strict=false leaves these layers random."
        )
    model.load_state_dict({n: v for n, v in state.items() if n in own and n not in differ}, strict=False)


def _own_name(name: str, own: Mapping[str, Tensor]) -> str:
    """The network's own name of an entry; it may have a part called `model` itself, so no more is removed."""
    while name not in own and (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)):
        name = name.removeprefix(prefix)
    return name if name in own else name.replace("_orig_mod.", "")


def _optional(name: str) -> bool:
    auxiliary = name.startswith(("AuxLogits.", "aux1.", "aux2."))
    return auxiliary or name.endswith(".num_batches_tracked") or name == "n_averaged"  # of AveragedModel


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:3]) + ("…" if len(names) > 3 else "") if names else "nothing"
