"""Rules: what each kind of layer becomes when a network is converted."""

from dataclasses import dataclass
from functools import update_wrapper
from inspect import signature
from typing import Any

from torch import fx, nn
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
from ..windows import strides

Key = type[nn.Module] | str

_RULES: dict[Key, type[Multisampling] | type[Joint]] = {
    nn.Conv2d: CheckeredConv2d,
    nn.MaxPool2d: CheckeredMaxPool2d,
    nn.AvgPool2d: CheckeredAvgPool2d,
    nn.LPPool2d: CheckeredLPPool2d,
    nn.AdaptiveAvgPool2d: JointAdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d: JointAdaptiveMaxPool2d,
    nn.Dropout2d: JointDropout2d,
    nn.GroupNorm: JointNorm,
    nn.InstanceNorm2d: JointNorm,
    "torchvision.ops.stochastic_depth.StochasticDepth": JointStochasticDepth,
    "timm.layers.drop.DropPath": JointStochasticDepth,
}


def register_rule(kind: Key, rule: type[Multisampling] | type[Joint]) -> None:
    """Sets what a type of strided layer becomes, or of a layer that mixes a whole feature map.

    Seldom needed: a layer whose forward calls `F.conv2d` or a pooling function converts without a rule. A
    converted layer has both classes, the rule's first: it keeps its attributes and parameters and runs the rule's
    `forward`.

    Args:
        kind: the layer's class, or its dotted name where the library should not be imported for it.
        rule: a subclass of `ccnn.multisampling.base.Multisampling`, or of `ccnn.multisampling.joint.Joint`.

    Raises:
        TypeError: if the arguments are something else.

    Example:
        >>> from ccnn.multisampling.joint import Joint
        >>> class MyNorm(nn.GroupNorm): ...
        >>> class JointMyNorm(Joint): ...
        >>> register_rule(MyNorm, JointMyNorm)
    """
    dotted = isinstance(kind, str) and "." in kind
    if not dotted and not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise TypeError(f"register_rule: expected a module class or its dotted name, got {kind!r}")
    if not (isinstance(rule, type) and issubclass(rule, Multisampling | Joint)):
        raise TypeError(f"register_rule: expected a subclass of Multisampling or Joint as the rule, got {rule!r}")
    _RULES[kind] = rule


@dataclass(frozen=True)
class Role:
    """What a module is for conversion.

    Attributes:
        kind: `strided`, `joint`, `placed` for a layer that knows of submaps already, or "" for all others.
        rule: the class that a strided or joint layer becomes.
        closed: whether the functions that its forward calls are the layer's own affair.
        reason: why a strided layer stays traditional.
    """

    kind: str = ""
    rule: type[nn.Module] | None = None
    closed: bool = False
    reason: str = ""


def role_of(module: nn.Module) -> Role:
    """What a module is for conversion; the rule of a base class counts if the module computes what that does."""
    if isinstance(module, Multisampling | Joint):
        return Role("placed", type(module), closed=True)
    rule, base = find_rule(module)
    if rule is None or base is None:
        return Role()
    own = _own_methods(type(module), base)
    if issubclass(rule, Joint):
        if (own and not rule.wraps) or not rule.applies(module):
            return Role()
        return Role("joint", rule, closed=True)
    if own:
        return Role()
    if own_forward(module):
        return Role(closed=True, reason="its forward belongs to the instance; define it in a class")
    if strides(module) == (1, 1) and not isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return Role(closed=True)
    equal = strides(module)[0] == strides(module)[1]  # otherwise it may still reduce its whole map
    reason = (rule.refuses(module) or "") if equal else ""
    return Role("" if reason else "strided", rule, closed=True, reason=reason)


def own_forward(module: nn.Module) -> bool:
    """Whether a module's forward was set on the instance, or generated for it by torch.fx."""
    return "forward" in vars(module) or isinstance(module, fx.GraphModule)


def find_rule(module: nn.Module) -> tuple[type[Multisampling] | type[Joint] | None, type | None]:
    """The rule for a layer, and the class that it is for."""
    for base in type(module).__mro__:
        rule = _RULES.get(base) or _RULES.get(f"{base.__module__}.{base.__qualname__}")
        if rule is not None:
            return rule, base
    return None, None


def _own_methods(kind: type, base: type) -> bool:
    methods = ("forward", "_conv_forward")
    return any(getattr(kind, name, None) is not getattr(base, name, None) for name in methods)


def become(module: nn.Module, rule: type[nn.Module]) -> None:
    """Makes a module run a rule's forward; all else about it stays."""
    if isinstance(module, rule):
        return
    kind = type(module)
    # When torch removes parametrizations it expects them in a class of their own, the plain class as its base.
    own = parametrize.is_parametrized(module)
    joined = _joined(rule, kind.__bases__[0] if own else kind)
    module.__class__ = _parametrized(kind, joined) if own else joined


def unbecome(module: nn.Module) -> None:
    """Undoes `become`."""
    kind = type(module)
    own = parametrize.is_parametrized(module)
    plain = kind.__bases__[0] if own else kind
    while True:
        if "_plain" in vars(plain):
            plain = vars(plain)["_plain"]
        elif plain in _RULES.values() and issubclass(plain, Multisampling | Joint) and len(plain.__bases__) > 1:
            plain = plain.__bases__[-1]
        else:
            break
    module.__class__ = _parametrized(kind, plain) if own else plain


def _parametrized(kind: type, plain: type) -> type:
    members = {key: value for key, value in vars(kind).items() if key not in ("__dict__", "__weakref__")}
    return type(f"Parametrized{plain.__name__}", (plain,), members)


def _joined(rule: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    if issubclass(kind, rule):
        return kind
    return rule if kind in rule.__bases__ else _both(rule, kind)


_BOTH: dict[tuple[type[nn.Module], type[nn.Module]], type[nn.Module]] = {}


def _both(rule: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    """The class of a converted module of a type that the rule was not written for."""

    def __reduce_ex__(self: nn.Module, protocol: Any) -> tuple[Any, ...]:  # noqa: N807
        return _blank, (rule, kind), self.__getstate__()

    if (rule, kind) not in _BOTH:
        shown = kind if hasattr(rule, "transparent") else rule
        members = {"__module__": shown.__module__, "__doc__": shown.__doc__, "_plain": kind}
        made: Any = type(shown.__name__, (rule, kind), members | {"__reduce_ex__": __reduce_ex__})
        made.__qualname__ = shown.__qualname__
        if shown is kind:
            made.__signature__ = signature(kind)
            made.forward = _signed(made.forward, kind.forward)
        _BOTH[rule, kind] = made
    return _BOTH[rule, kind]


def _signed(forward: Any, like: Any) -> Any:
    """A forward with the signature of another."""

    def signed(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return forward(self, *args, **kwargs)

    return update_wrapper(signed, like)


def _blank(rule: type[nn.Module], kind: type[nn.Module]) -> nn.Module:
    made = _both(rule, kind)
    return made.__new__(made)
