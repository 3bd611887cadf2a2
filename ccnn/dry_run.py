"""The dry run: passes on the meta device that tell what every layer of a network does and receives."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ccnn.functional import POOLINGS, pool_name, pooling
from ccnn.multisampling import Multisampling, pair

InputSize = tuple[int, int, int]
IMAGES = 3  # With one image, branches that disagree in submaps would broadcast silently.


class ConversionError(ValueError):
    """The model cannot be converted; it is left as it was."""


class SeenApartError(Exception):
    """A layer that is to see all submaps of a map at once is called at several levels."""

    def __init__(self, name: str) -> None:
        self.name = name


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of the model on the meta device: everything but the numbers."""
    memo: dict[int, Any] = {}
    loose = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *loose):
        if isinstance(tensor, nn.UninitializedParameter):
            raise ConversionError("convert: the model has lazy layers; run it once on a batch, then convert it")
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def outputs(model: nn.Module, input_size: InputSize, images: int = IMAGES) -> list[Tensor]:
    """Runs a skeleton on blank images of `input_size` (C, H, W) and returns all tensors of its output."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    with torch.no_grad(), torch.device("meta"):
        leaves = pytree.tree_leaves(model(torch.empty(images, *input_size, dtype=dtype)))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def first_map(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first tensor of at least two dimensions that a module is called with."""
    leaves = pytree.tree_leaves((args, kwargs))
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim >= 2), None)


@dataclass
class Watch:
    """Watches the calls of a network: which module is running, and what reaches it.

    Attributes:
        active: names of the modules that are running, the innermost last.
        on_call: called with name, module and input map before each call of a module.
        on_return: called with name, module and output after it.
    """

    model: nn.Module
    on_call: Callable[[str, nn.Module, Tensor], None]
    on_return: Callable[[str, nn.Module, Any], None] = lambda name, module, output: None

    def __post_init__(self) -> None:
        self.active: list[str] = []
        for name, module in self.model.named_modules():
            self.also(name, module)

    def also(self, name: str, module: nn.Module) -> None:
        """Watches a layer that is no submodule."""
        module.register_forward_pre_hook(self._enter(name), with_kwargs=True)
        module.register_forward_hook(self._leave(name))

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.active.append(name)
            if (x := first_map(args, kwargs)) is not None:
                self.on_call(name, module, x)

        return hook

    def _leave(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self.active.pop()
            self.on_return(name, module, output)

        return hook


@dataclass
class Survey:
    """What a plain network does.

    Attributes:
        sizes: height × width of the largest map that reaches each module.
        pools: for each module that pools in its own forward, the layer that would take each call's place, or
            None where the call has no stride.
        functional: strided calls that cannot be converted, as `where: what`.
        modes: evaluation (False), and training (True) if the network runs in it: auxiliary heads live there.
    """

    sizes: dict[str, int]
    pools: dict[str, list[Multisampling | None]]
    functional: dict[str, str]
    modes: list[bool]


def survey(dry: nn.Module, input_size: InputSize) -> Survey:
    """Runs a plain skeleton in both modes.

    Raises:
        ConversionError: if it does not run on `input_size` in evaluation.
    """
    dry = copy.deepcopy(dry)
    found = Survey({}, {}, {}, [])

    def on_call(name: str, module: nn.Module, x: Tensor) -> None:
        if x.ndim == 4:
            found.sizes[name] = max(found.sizes.get(name, 0), x.shape[2] * x.shape[3])

    watch = Watch(dry, on_call)
    for training in (False, True):
        watch.active.clear()
        calls = _Calls(dry, watch)
        try:
            with calls:
                outputs(dry.train(training), input_size)
        except Exception as error:
            if not training:
                raise ConversionError(
                    f"convert: the plain network does not run on images of input_size={input_size}: {gist(error)}"
                ) from error
            continue
        found.modes.append(training)
        for name, pools in calls.pools.items():
            if calls.direct(name) and len(found.pools.setdefault(name, pools)) != len(pools):
                calls.others[f"{name}: pooling"] = "the number of calls differs between training and evaluation"
                found.pools[name] = [None] * max(len(found.pools[name]), len(pools))
        found.functional |= calls.others
        found.sizes |= calls.sizes
    found.pools = {name: pools for name, pools in found.pools.items() if any(pools)}
    return found


class _Calls(TorchFunctionMode):
    """Finds what subsamples without being a module."""

    def __init__(self, dry: nn.Module, watch: Watch) -> None:
        super().__init__()
        self.watch, self.modules = watch, dict(dry.named_modules())
        self.pools: dict[str, list[Multisampling | None]] = {}
        self.nested: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.others: dict[str, str] = {}

    def direct(self, name: str) -> bool:
        """Whether all pooling calls within a module are its own, so that their order identifies them."""
        if name not in self.nested:
            return True
        if any(self.pools[name]):
            self.others[f"{name}: pooling"] = "a functional call beside modules that pool"
        return False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        inside = self.watch.active[-1] if self.watch.active else ""
        module = self.modules[inside]
        if func in POOLINGS:
            self.nested.update(self.watch.active[:-1])
            if not isinstance(module, _POOLING_MODULES):
                pools = self.pools.setdefault(inside, [])
                x = args[0] if args else kwargs["input"]
                self.sizes[pool_name(inside, POOLINGS[func], len(pools))] = x.shape[2] * x.shape[3]
                pools.append(pooling(POOLINGS[func], args, kwargs))
        elif what := _subsamples(func, args, kwargs, module):
            self.others[inside or "the model's own forward"] = what
        return func(*args, **kwargs)


_POOLING_MODULES = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def _subsamples(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], module: nn.Module) -> str:
    """What a function call does to a map's resolution that conversion cannot follow; empty if nothing."""
    x = args[0] if args else kwargs.get("input")
    if not isinstance(x, Tensor) or x.ndim != 4:
        return ""
    if func is Tensor.__getitem__ and isinstance(args[1], tuple):
        steps = [item.step for item in args[1] if isinstance(item, slice) and item.step not in (None, 1)]
        return "slices with a step stay as they are" if steps else ""
    if func is F.interpolate:
        factor = kwargs.get("scale_factor", args[2] if len(args) > 2 else None)
        shrinks = isinstance(factor, float) and factor < 1
        return "F.interpolate to a smaller size stays as it is" if shrinks else ""
    if func in (F.conv2d, torch.conv2d) and not isinstance(module, nn.Conv2d) and not hasattr(module, "stride"):
        stride = kwargs.get("stride", args[3] if len(args) > 3 else 1)
        return "F.conv2d with a stride stays as it is" if pair(stride) != (1, 1) else ""
    return ""


@contextmanager
def explained(watch: Watch, traditional: Callable[[], str]) -> Iterator[None]:
    """Turns whatever breaks in a converted network into an error that says where."""
    try:
        yield
    except (ConversionError, SeenApartError):
        raise
    except Exception as error:
        where = next((repr(name) for name in reversed(watch.active) if name), "the model's own forward")
        raise ConversionError(
            f"convert: the converted network breaks in {where}: {gist(error)}. Its branches disagree in submaps "
            f"or it reshapes the batch. Layers that stay traditional: {traditional()}."
        ) from error


def gist(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip() or '(no message)').splitlines()[0]}"
