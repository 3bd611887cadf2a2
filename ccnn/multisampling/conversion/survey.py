"""The survey of a plain network: what every module receives, and what subsamples without being one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..base import Multisampling
from ..joint import JointReduction
from ..windows import pair
from .functional import Calls, call_name, is_reduction, kind_of, pooling
from .meta import IMAGES, ConversionError, InputSize, Watch, gist, outputs
from .rules import find_rule


@dataclass
class Survey:
    """What a plain network does.

    Attributes:
        whole: average poolings that end a network: their window is the whole map, and no map follows.
        calls: for each module that pools (False) or reduces maps (True) in its own forward, what would take
            each call's place, or None where nothing would.
        nested: modules within whose forward others pool or reduce maps.
        functional: strided calls that cannot be converted, as `where: what`.
        rows: in training and in evaluation, the rows of the batch in each call of each module.
        outputs: in training and in evaluation, the rows of each tensor of the output.
        modes: evaluation (False), and training (True) if the network runs in it: auxiliary heads live there.
        no_training: why it does not.
    """

    whole: set[str] = field(default_factory=set)
    calls: dict[str, Calls] = field(default_factory=dict)
    nested: set[str] = field(default_factory=set)
    functional: dict[str, str] = field(default_factory=dict)
    modes: list[bool] = field(default_factory=list)
    rows: dict[bool, dict[str, list[int]]] = field(default_factory=lambda: {False: {}, True: {}})
    outputs: dict[bool, list[int]] = field(default_factory=dict)
    no_training: str = ""

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
    found = Survey()
    for training in (False, True):
        look = _Look(dry, found.rows[training])
        try:
            with look:
                result = outputs(dry.train(training), input_size)
        except Exception as error:
            if not training:
                raise ConversionError(
                    f"convert: the plain network does not run on images of input_size={input_size} (channels, "
                    f"height, width) in a dry run, with shapes and no numbers (the meta device): {gist(error)}"
                ) from error
            found.no_training = gist(error)
            continue
        finally:
            look.close()
        if not result:
            raise ConversionError(
                "convert: the network returns no tensors, nor lists, tuples or dictionaries of them; have it "
                "return one of these"
            )
        found.outputs[training] = [tensor.shape[0] if tensor.ndim else 1 for tensor in result]
        found.modes.append(training)
        found.whole |= look.whole
        found.nested |= look.nested
        found.functional |= look.others
        for owner, kinds in look.calls.items():
            for reduces, layers in kinds.items():
                known = found.calls.setdefault(owner, {}).setdefault(reduces, layers)
                if len(known) != len(layers):
                    where = f"{owner or 'the model itself'}: {'mean' if reduces else 'pooling'}"
                    found.functional[where] = "the number of calls differs between training and evaluation"
                    found.calls[owner][reduces] = [None] * max(len(known), len(layers))
    return found


class _Look(TorchFunctionMode):
    """Watches one run: the modules, and the functions that they call themselves."""

    def __init__(self, dry: nn.Module, rows: dict[str, list[int]]) -> None:
        super().__init__()
        self.rows = rows
        self.calls: dict[str, Calls] = {}
        self.nested: set[str] = set()
        self.whole: set[str] = set()
        self.others: dict[str, str] = {}
        self.last: list[tuple[Calls, int]] = []
        self.watch = Watch(dry, self._on_call)
        self.modules = dict(dry.named_modules())

    def close(self) -> None:
        """Ends the watch; what the whole network reduces at its very end, its head merges anyway."""
        self.watch.close()
        for kinds, place in self.last:
            kinds[True][place] = None

    def _on_call(self, name: str, module: nn.Module, x: Tensor) -> None:
        self.rows.setdefault(name, []).append(x.shape[0])
        if x.ndim != 4:
            return
        if isinstance(module, _STRIDED_POOLINGS) or (
            isinstance(module, nn.Conv2d) and max(x.shape[2] * x.shape[3], *module.kernel_size) > 1
        ):
            self._more_maps()
        if isinstance(module, nn.AvgPool2d) and _sees_all(module, x):
            self.whole.add(name)

    def _more_maps(self) -> None:
        """A layer that works on maps: what came before was no head."""
        self.whole.clear()
        self.last.clear()

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
        kind = kind_of(func, args, kwargs)
        if kind:
            self.nested.update(self.watch.active[:-1])
            if not isinstance(module, _POOLINGS):
                self._take(inside, kind, args, kwargs)
        result = func(*args, **kwargs)
        if not kind and (what := _subsamples(func, args, kwargs, result, module)):
            self.others[inside or "the model's own forward"] = what
        return result

    def _take(self, inside: str, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        reduces = is_reduction(kind)
        kinds = self.calls.setdefault(inside, {})
        layers = kinds.setdefault(reduces, [])
        x = args[0] if args else kwargs["input"]
        layer = JointReduction() if reduces else pooling(kind, args, kwargs)
        if layer is not None:
            layer.where = call_name(inside, kind, len(layers))
        if not reduces:
            self._more_maps()
        elif not inside:
            self.last.append((kinds, len(layers)))
        if isinstance(layer, nn.AvgPool2d) and _sees_all(layer, x):
            self.whole.add(layer.where)
        layers.append(layer)


_STRIDED_POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
_POOLINGS = (*_STRIDED_POOLINGS, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def _sees_all(pool: Multisampling | nn.AvgPool2d, x: Tensor) -> bool:
    """Whether one window of a pooling covers a map."""
    kernel = pair(pool.kernel_size)
    return kernel[0] >= x.shape[2] > 1 and kernel[1] >= x.shape[3] > 1


_RESIZING: dict[Callable[..., Any], str] = {
    F.interpolate: "F.interpolate",
    F.grid_sample: "F.grid_sample",
    F.lp_pool2d: "F.lp_pool2d",
    F.fractional_max_pool2d: "F.fractional_max_pool2d",
    F.adaptive_avg_pool2d: "F.adaptive_avg_pool2d",
    F.adaptive_max_pool2d: "F.adaptive_max_pool2d",
    F.pixel_unshuffle: "F.pixel_unshuffle",
    torch.pixel_unshuffle: "F.pixel_unshuffle",
    F.conv2d: "F.conv2d",
    torch.conv2d: "F.conv2d",
    Tensor.__getitem__: "slicing",
}
"""Functions that may lower the resolution of a map without being poolings that can be converted."""


def _subsamples(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, module: nn.Module
) -> str:
    """What a function call does to a map's resolution that conversion cannot follow; empty if nothing."""
    name = _RESIZING.get(func, "")
    x = args[0] if args else kwargs.get("input")
    if not name or not isinstance(x, Tensor) or not isinstance(result, Tensor) or x.ndim != 4 or result.ndim != 4:
        return ""
    if isinstance(module, (nn.Conv2d, *_POOLINGS)) or find_rule(module)[0] is not None:
        return ""  # the module is what counts
    if name == "slicing" and not any(isinstance(i, slice) and i.step not in (None, 1) for i in _index(args)):
        return ""  # a crop
    smaller = any(2 * result.shape[axis] <= x.shape[axis] + 1 for axis in (2, 3))
    if not smaller or result.shape[2] * result.shape[3] == 1:
        return ""
    return f"{name} from {_size(x)} to {_size(result)} stays as it is"


def _index(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args[1] if isinstance(args[1], tuple) else (args[1],)


def _size(x: Tensor) -> str:
    return f"{x.shape[2]}×{x.shape[3]}"
