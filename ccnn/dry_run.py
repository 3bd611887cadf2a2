"""The dry run: passes on the meta device that tell what every layer of a network does and receives."""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ccnn.functional import Call, call_name, is_reduction, kind_of, pooling
from ccnn.joint import JointReduction
from ccnn.multisampling import Multisampling, pair
from ccnn.rules import find_rule

InputSize = tuple[int, int, int]
IMAGES = 3  # With one image, branches that disagree in submaps would broadcast silently.


class ConversionError(ValueError):
    """The model cannot be converted; it is left as it was."""


class SeenApartError(Exception):
    """A layer that is to see all submaps of a map at once is called at several levels."""

    def __init__(self, name: str) -> None:
        self.name = name


def skeleton(model: nn.Module, device: str = "meta") -> nn.Module:
    """A copy of the model on the meta device: everything but the numbers.

    Args:
        model: the model.
        device: another one for use under a FakeTensorMode, which has no numbers on any device.
    """
    memo: dict[int, Any] = {}
    loose = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor)]
    for tensor in (*model.parameters(), *model.buffers(), *loose):
        if isinstance(tensor, nn.UninitializedParameter):
            raise ConversionError("convert: the model has lazy layers; run it once on a batch, then convert it")
        empty = torch.empty_like(tensor, device=device)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    try:
        dry = copy.deepcopy(model, memo)
    except Exception as error:
        raise ConversionError(f"convert: the model cannot be copied for a dry run: {gist(error)}") from error
    for module in dry.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            # A copied hook that is an object works on its copy; a plain function would reach out of the dry run.
            for key in [key for key, hook in hooks.items() if isinstance(hook, FunctionType)]:
                del hooks[key]
    return dry


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
        sizes: height × width of the largest map that reaches each module or functional call.
        whole: poolings that see their whole map in a single window.
        calls: for each module that pools (False) or reduces maps (True) in its own forward, what would take
            each call's place, or None where nothing would.
        functional: strided calls that cannot be converted, as `where: what`.
        rows: in training and in evaluation, the rows of the batch in each call of each module.
        outputs: in training and in evaluation, the rows of each tensor of the output.
        modes: evaluation (False), and training (True) if the network runs in it: auxiliary heads live there.
    """

    sizes: dict[str, int]
    whole: set[str]
    calls: dict[str, dict[bool, list[Call | None]]]
    functional: dict[str, str]
    modes: list[bool]
    rows: dict[bool, dict[str, list[int]]]
    outputs: dict[bool, list[int]]

    def submaps(self, training: bool, name: str, call: int, rows: int) -> int:
        """The submaps that reach a module of the converted network, which sees `rows` in its batch.

        A network may regroup its batch (attention over groups of channels does), so what counts are the rows
        that the plain network has at the same call.
        """
        plain = self.rows[training].get(name, [])
        return max(1, rows // (plain[call] if call < len(plain) else IMAGES))


def survey(dry: nn.Module, input_size: InputSize) -> Survey:
    """Runs a plain skeleton in both modes.

    Raises:
        ConversionError: if it does not run on `input_size` in evaluation.
    """
    dry = copy.deepcopy(dry)
    found = Survey({}, set(), {}, {}, [], {False: {}, True: {}}, {})

    def on_call(name: str, module: nn.Module, x: Tensor) -> None:
        found.rows[dry.training].setdefault(name, []).append(x.shape[0])
        if x.ndim == 4:
            found.sizes[name] = max(found.sizes.get(name, 0), x.shape[2] * x.shape[3])
            if isinstance(module, _STRIDED_POOLINGS) and _sees_all(module, x):
                found.whole.add(name)

    watch = Watch(dry, on_call)
    for training in (False, True):
        watch.active.clear()
        calls = _Calls(dry, watch)
        try:
            with calls:
                result = outputs(dry.train(training), input_size)
        except Exception as error:
            if not training:
                raise ConversionError(
                    f"convert: the plain network does not run on images of input_size={input_size} in a dry run, "
                    f"which has shapes but no numbers (the meta device): {gist(error)}"
                ) from error
            continue
        if not result:
            raise ConversionError(
                "convert: the network returns no tensors, nor lists, tuples or dictionaries of them; have it "
                "return one of these"
            )
        found.outputs[training] = [tensor.shape[0] if tensor.ndim else 1 for tensor in result]
        found.modes.append(training)
        for name, kinds in calls.direct():
            for reduces, layers in kinds.items():
                known = found.calls.setdefault(name, {}).setdefault(reduces, layers)
                if len(known) != len(layers):
                    calls.others[f"{name}: pooling"] = (
                        "the number of calls differs between training and evaluation"
                    )
                    found.calls[name][reduces] = [None] * max(len(known), len(layers))
        found.functional |= calls.others
        found.sizes |= calls.sizes
        found.whole |= calls.whole
    found.calls = {
        name: {reduces: layers for reduces, layers in kinds.items() if any(layers)}
        for name, kinds in found.calls.items()
    }
    return found


class _Calls(TorchFunctionMode):
    """Finds what subsamples without being a module."""

    def __init__(self, dry: nn.Module, watch: Watch) -> None:
        super().__init__()
        self.watch, self.modules = watch, dict(dry.named_modules())
        self.calls: dict[str, dict[bool, list[Call | None]]] = {}
        self.nested: set[tuple[str, bool]] = set()
        self.sizes: dict[str, int] = {}
        self.whole: set[str] = set()
        self.others: dict[str, str] = {}

    def direct(self) -> Iterator[tuple[str, dict[bool, list[Call | None]]]]:
        """The modules all of whose calls of a kind are their own, so that their order identifies them."""
        for name, kinds in self.calls.items():
            for reduces, layers in kinds.items():
                if (name, reduces) in self.nested and any(layers):
                    self.others[f"{name}: {'mean' if reduces else 'pooling'}"] = (
                        "a functional call beside modules that do the same"
                    )
            yield name, {reduces: kinds[reduces] for reduces in kinds if (name, reduces) not in self.nested}

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
        if kind := kind_of(func, args, kwargs):
            reduces = is_reduction(kind)
            self.nested.update((name, reduces) for name in self.watch.active[:-1])
            # What the whole network reduces at its end, its head merges anyway.
            if not isinstance(module, _POOLING_MODULES) and not (reduces and not inside):
                layers = self.calls.setdefault(inside, {}).setdefault(reduces, [])
                x = args[0] if args else kwargs["input"]
                name = call_name(inside, kind, len(layers))
                self.sizes[name] = x.shape[2] * x.shape[3]
                layer = JointReduction() if reduces else pooling(kind, args, kwargs)
                if isinstance(layer, Multisampling) and _sees_all(layer, x):
                    self.whole.add(name)
                layers.append(layer)
        elif what := _subsamples(func, args, kwargs, module):
            self.others[inside or "the model's own forward"] = what
        return func(*args, **kwargs)


_STRIDED_POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
_POOLING_MODULES = (*_STRIDED_POOLINGS, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def _sees_all(pool: Any, x: Tensor) -> bool:
    """Whether one window of a pooling covers a map."""
    kernel = pair(pool.kernel_size)
    return kernel[0] >= x.shape[2] > 1 and kernel[1] >= x.shape[3] > 1


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
    known = isinstance(module, nn.Conv2d) or find_rule(module)[0] is not None
    if func in (F.conv2d, torch.conv2d) and not known:
        stride = kwargs.get("stride", args[3] if len(args) > 3 else 1)
        return "F.conv2d with a stride stays as it is" if pair(stride) != (1, 1) else ""
    return ""


@contextmanager
def explained(
    watch: Watch, yields: Callable[[], dict[str, int]], traditional: Callable[[], str]
) -> Iterator[None]:
    """Turns whatever breaks in a converted network into an error that says where and what to do.

    Args:
        watch: of the network.
        yields: the multisampling layers that have run and the submaps they yield, in order.
        traditional: the layers that stay as they are, and why.
    """
    try:
        yield
    except (ConversionError, SeenApartError):
        raise
    except Exception as error:
        where = next((repr(name) for name in reversed(watch.active) if name), "the model's own forward")
        reason = _disagreement(str(error), yields()) or (
            f"{gist(error)}. Its branches disagree in submaps or it reshapes the batch"
        )
        raise ConversionError(
            f"convert: the converted network breaks in {where}: {reason}. "
            f"Layers that stay traditional: {traditional()}."
        ) from error


_TWO_SIZES = (
    r"length (\d+) at .*broadcastable to \[(\d+)",
    r"Expected (?:size )?(\d+) .*but got (?:size )?(\d+)",
    r"tensor a \((\d+)\) must match .*tensor b \((\d+)\)",
)
"""How torch says that two batches differ."""


def _disagreement(message: str, yields: dict[str, int]) -> str:
    """Says which layers made two branches disagree in submaps; empty if the message is not about that."""
    found = next(filter(None, (re.search(pattern, message, re.DOTALL) for pattern in _TWO_SIZES)), None)
    (fewer, _), (more, rest) = sorted(divmod(int(n), IMAGES) for n in found.groups()) if found else [(0, 0)] * 2
    last = {submaps: name for name, submaps in yields.items()}
    if rest or fewer == more or more not in last or fewer not in {1, *last}:
        return ""
    before = [name for name, submaps in yields.items() if submaps <= fewer]
    origin = f"come from {last[fewer]!r}" if fewer > 1 else "are the input's"
    only = f", or convert only what comes before the branches part: only={before}" if 0 < len(before) <= 4 else ""
    return (
        f"branches of {fewer} and {more} submaps meet. The {fewer} {origin}, the {more} from {last[more]!r}. "
        f"Leave layers of the second branch traditional: skip={[last[more]]}{only}"
    )


def gist(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip() or '(no message)').splitlines()[0]}"
