"""Rules: what each layer of a plain network becomes when the network is converted."""

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from ..base import Multisampling
from ..convolution import CheckeredConv2d
from ..joint import (
    Joint,
    JointAdaptiveAvgPool2d,
    JointAdaptiveMaxPool2d,
    JointDropout2d,
    JointNorm,
    JointStochasticDepth,
)
from ..pooling import CheckeredAvgPool2d, CheckeredLPPool2d, CheckeredMaxPool2d
from .timm_rules import TIMM

_Key = type[nn.Module] | str

_JOINT: dict[_Key, type[Joint]] = {
    nn.AdaptiveAvgPool2d: JointAdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d: JointAdaptiveMaxPool2d,
    nn.Dropout2d: JointDropout2d,
    nn.GroupNorm: JointNorm,
    nn.InstanceNorm2d: JointNorm,
    "torchvision.ops.stochastic_depth.StochasticDepth": JointStochasticDepth,
    "timm.layers.drop.DropPath": JointStochasticDepth,
}
"""What each layer that mixes a whole feature map becomes."""

_MULTISAMPLING: dict[_Key, type[Multisampling]] = {
    nn.Conv2d: CheckeredConv2d,
    nn.MaxPool2d: CheckeredMaxPool2d,
    nn.AvgPool2d: CheckeredAvgPool2d,
    nn.LPPool2d: CheckeredLPPool2d,
    **TIMM,
}


def register_rule(kind: _Key, rule: type[Multisampling] | type[Joint]) -> None:
    """Says what a type of strided layer becomes, or of a layer that mixes a whole feature map.

    A converted layer has both classes, the rule's first: it keeps its attributes and parameters and runs the
    rule's `forward`. For a layer that pads or computes its kernel in a way of its own, override `multisample`.

    Args:
        kind: the layer's class, or its dotted name where the library should not be imported for it.
        rule: a subclass of `ccnn.multisampling.base.Multisampling`, or of `ccnn.multisampling.joint.Joint`.

    Raises:
        TypeError: if the arguments are something else.

    Example:
        >>> class CheckeredCausal(ccnn.CheckeredConv2d):
        ...     def multisample(self, x, placement):
        ...         pads = (2, 0), (1, 1)  # two rows above and none below, a column left and right
        ...         return conv2d(x, placement, self.weight, self.bias, (2, 2), pads)
        >>> ccnn.register_rule(CausalConv2d, CheckeredCausal)
    """
    dotted = isinstance(kind, str) and "." in kind
    if not dotted and not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise TypeError(f"register_rule: expected a module class or its dotted name, got {kind!r}")
    if not (isinstance(rule, type) and issubclass(rule, Multisampling | Joint)):
        raise TypeError(f"register_rule: expected a subclass of Multisampling or Joint as the rule, got {rule!r}")
    if issubclass(rule, Joint):
        _JOINT[kind] = rule
    else:
        _MULTISAMPLING[kind] = rule


def find_joint(module: nn.Module) -> type[Joint] | None:
    """The rule for a layer that mixes a whole feature map, if it is one."""
    kind = type(module)
    for base in kind.__mro__:
        rule = _JOINT.get(base) or _JOINT.get(f"{base.__module__}.{base.__qualname__}")
        if rule is not None:
            same = rule.wraps or getattr(kind, "forward", None) is getattr(base, "forward", None)
            return rule if same and rule.applies(module) else None
    return None


def find_rule(module: nn.Module) -> tuple[type[Multisampling] | None, str]:
    """The rule for a layer, and why it has none.

    The rule of a base class counts only if the layer computes what the base class does.
    """
    kind = type(module)
    for base in kind.__mro__:
        rule = _MULTISAMPLING.get(base) or _MULTISAMPLING.get(f"{base.__module__}.{base.__qualname__}")
        if rule is not None:
            changed = [
                n for n in ("forward", "_conv_forward") if getattr(kind, n, None) is not getattr(base, n, None)
            ]
            if not changed:
                return rule, ""
            return None, f"{kind.__qualname__} has a {changed[0]} of its own; see ccnn.register_rule"
    return None, f"{kind.__qualname__} has no rule; see ccnn.register_rule"


def become(module: nn.Module, rule: type[nn.Module]) -> None:
    """Makes a module run a rule's forward; all else about it stays."""
    if isinstance(module, rule):
        return
    kind, rule = type(module), vars(rule).get("_plain", rule)
    if not parametrize.is_parametrized(module):
        module.__class__ = _joined(rule, kind)
        return
    # When torch removes parametrizations it expects them in a class of their own, the plain class as its base.
    plain = _joined(rule, kind.__bases__[0])
    members = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
    module.__class__ = type(f"Parametrized{plain.__name__}", (plain,), members | {"_plain": plain})


def _joined(rule: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    if issubclass(kind, rule):
        return kind
    return rule if kind in rule.__bases__ else _both(rule, kind)


_BOTH: dict[tuple[type[nn.Module], type[nn.Module]], type[nn.Module]] = {}


def _both(rule: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    """The class of a converted layer of a type that the rule was not written for."""

    def __reduce_ex__(self: nn.Module, protocol: Any) -> tuple[Any, ...]:  # noqa: N807
        return _blank, (rule, kind), self.__getstate__()

    if (rule, kind) not in _BOTH:
        members = {"__module__": rule.__module__, "__reduce_ex__": __reduce_ex__}
        _BOTH[rule, kind] = type(rule.__name__, (rule, kind), members)
    return _BOTH[rule, kind]


def _blank(rule: type[nn.Module], kind: type[nn.Module]) -> nn.Module:
    made = _both(rule, kind)
    return made.__new__(made)
