"""convert(): turns the strided layers of a CNN into multisampling layers, in place."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.fx.graph_module import _USER_PRESERVED_ATTRIBUTES_KEY

from ..base import Folded
from ..draws import Draws
from ..joint import ToDense
from ..samplers import Sampling, resolve
from .calls import Calling
from .changes import Plan
from .lineage import Policy
from .merge import CountImages, MergeInput, MergeOutputs, MergeReplaced, remove_hooks
from .meta import ConversionError, Inputs, InputSize, gist, outputs, skeleton
from .plan import Planner
from .report import ConversionReport, conversion_report
from .rules import become, unbecome

_Model = TypeVar("_Model", bound=nn.Module)
Filter = Callable[[nn.Module, str], bool]


@dataclass(frozen=True)
class Settings:
    """What a model was converted with, to convert it again.

    Attributes:
        inputs: of the dry run.
        merge: where submaps are merged.
        strict: whether side branches had to convert.
        filtered: places that the user's filter left out.
        layers: the modules whose class was changed, and those that were only told their place.
    """

    inputs: Inputs
    merge: str | None
    strict: bool
    filtered: tuple[str, ...]
    layers: tuple[tuple[str, ...], tuple[str, ...]]


def convert(
    model: _Model,
    input_size: InputSize | None = None,
    sampling: str | Sampling = "naive",
    *,
    example_inputs: Any = None,
    filter_fn: Filter | None = None,
    merge: str | None = "auto",
    strict: bool = False,
) -> _Model:
    """Turns a CNN into a CCNN: its strided layers keep several positions of each window (arXiv 1805.10766).

    The model is changed in place and returned. Its parameters, their names, ties, hooks, dtype, device and
    training flag stay as they are, so checkpoints load into either form. Feature maps become submaps in the
    batch, (S·N, C, H, W), and are averaged at the input of the classifier; the result is (N, …) as before.

    Called by themselves, parts of a converted network (`forward_features`, a block) return folded maps, (S·N, …):
    `ccnn.multisampling.submaps.unfold(x, S)` gives (S, N, …), S being the report's `submaps`. Classifiers may be
    replaced later, all other layers before the conversion.

    Args:
        model: any CNN; its forward is not edited. Converting it again with the same method changes nothing.
        input_size: (C, H, W) of the images it is meant for. It runs on other sizes too.
        sampling: name of a sampling method (`naive`, `lattice`) or a `Sampling`.
        example_inputs: in place of `input_size`, a tensor, a tuple of arguments, or a pair (arguments, keyword
            arguments), for networks with several inputs. Only shapes and data types matter.
        filter_fn: called with a strided module, or the module that calls a strided function, and its name; what
            it returns False for stays traditional.
        merge: "auto" merges where a map has become a row for each image, otherwise at the output; the name of a
            module merges at its input; None merges nothing, and the network returns submaps.
        strict: whether a side branch that would have to stay traditional (it subsamples and comes up again) is an
            error rather than a line in the report.

    Returns:
        The same model. `conversion_report(model)` says what was done.

    Raises:
        ConversionError: with all problems found: the network does not run on the input, has nothing to convert,
            mixes the images of its batch, or returns what has no mean over submaps. The model is then as it was.
        ValueError: for an unknown sampling method, a custom sequence that does not fit, or a malformed input size.
        TypeError: if `model` is no plain module.

    Example:
        >>> import ccnn
        >>> from ccnn.models import Toy
        >>> model = ccnn.convert(Toy(), (1, 28, 28), "lattice")
        >>> ccnn.conversion_report(model).submaps
        2
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise TypeError(f"convert: expected a model (an nn.Module), got {kind} {str(model)[:80]}")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise TypeError(f"convert: expected a plain model, got {kind}; convert the model first, then compile it")
    inputs = Inputs.of(input_size, example_inputs)
    chosen = resolve(sampling)
    if is_converted(model):
        done = conversion_report(model)
        if done.sampling == chosen:
            return model
        raise ConversionError(
            f"convert: the model is converted already, with sampling='{done.sampling}'; use ccnn.set_sampling to "
            f"get '{chosen}'"
        )
    policy = Policy(chosen, filter_fn)
    with torch.random.fork_rng(devices=[]):
        dry = skeleton(model)
        plan = Planner(dry, inputs, policy, merge, strict).run()
        _verify(dry, plan, chosen, inputs)
    changed, placed = _apply(model, plan, chosen)
    filtered = tuple(name for name, why in policy.traditional.items() if why == "filter_fn")
    model.__dict__["_conversion"] = ConversionReport(
        chosen,
        inputs.size or (0, 0, 0),
        tuple(plan.converted),
        plan.steps,
        tuple(plan.joint),
        plan.traditional,
        tuple(plan.merge),
        plan.submaps,
    )
    model.__dict__["_conversion_settings"] = Settings(
        inputs.without_numbers(), merge, strict, filtered, (changed, placed)
    )
    if isinstance(model, fx.GraphModule):
        # Copies are made of the graph and forget all else but what this private key of torch's names.
        kept = ("_forward_hooks", "_forward_pre_hooks", "_conversion", "_conversion_settings")
        model.__dict__.setdefault("meta", {})[_USER_PRESERVED_ATTRIBUTES_KEY] = {
            name: vars(model)[name] for name in kept
        }
    return model


def is_converted(model: nn.Module) -> bool:
    """Whether `convert` was applied to a model.

    Example:
        >>> is_converted(nn.Conv2d(3, 8, 3, stride=2))
        False
    """
    return "_conversion" in vars(model)


def unconvert(model: _Model) -> _Model:
    """Turns a converted model back into the plain one, in place; parameters and the user's hooks stay.

    Raises:
        ValueError: if the model is not converted.

    Example:
        >>> import ccnn
        >>> model = ccnn.unconvert(ccnn.convert(nn.Conv2d(3, 8, 3, stride=2), (3, 32, 32)))
        >>> type(model).__name__, is_converted(model)
        ('Conv2d', False)
    """
    conversion_report(model)
    settings: Settings = vars(model)["_conversion_settings"]
    modules = dict(model.named_modules())
    changed, placed = settings.layers
    remove_hooks(model, MergeInput, MergeOutputs, MergeReplaced, CountImages, Draws)
    for hooks in (model._forward_hooks, model._forward_pre_hooks):
        for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), Draws)]:
            del hooks[key]
    if isinstance(model, fx.GraphModule):
        model.__dict__.get("meta", {}).pop(_USER_PRESERVED_ATTRIBUTES_KEY, None)
    for name in changed:
        if (module := modules.get(name)) is not None:
            unbecome(module)
            for attribute in ("placement", "_calls"):
                module.__dict__.pop(attribute, None)
    for name in placed:
        module = modules.get(name)
        if isinstance(module, Folded):
            module.placement = type(module.placement)(method=module.placement.method)
    del model.__dict__["_conversion"], model.__dict__["_conversion_settings"]
    return model


def set_sampling(model: _Model, sampling: str | Sampling) -> _Model:
    """Gives a converted model another sampling method, in place; parameters stay.

    Raises:
        ValueError: if the model is not converted, or for an unknown method.
        ConversionError: if it cannot be converted with that method. The model is then as it was.

    Example:
        >>> import ccnn
        >>> model = ccnn.convert(nn.Conv2d(3, 8, 3, stride=2), (3, 32, 32), "naive")
        >>> str(ccnn.conversion_report(set_sampling(model, "complete")).sampling)
        'complete'
    """
    before = conversion_report(model).sampling
    chosen = resolve(sampling)
    settings: Settings = vars(model)["_conversion_settings"]
    arguments: dict[str, Any] = {
        "example_inputs": (settings.inputs.args, settings.inputs.kwargs),
        "merge": settings.merge,
        "strict": settings.strict,
        "filter_fn": (lambda module, name: name not in settings.filtered) if settings.filtered else None,
    }
    unconvert(model)
    try:
        return convert(model, None, chosen, **arguments)
    except Exception:
        convert(model, None, before, **arguments)
        raise


def _verify(dry: nn.Module, plan: Plan, sampling: Sampling, inputs: Inputs) -> None:
    """Converts the skeleton and compares the shapes of its outputs with the plain network's."""
    _apply(dry, copy.deepcopy(plan), sampling)
    running: list[str] = []
    for name, module in dry.named_modules():
        module.register_forward_pre_hook(lambda module, args, name=name: running.append(name))
        module.register_forward_hook(lambda module, args, output: (running.pop(), None)[1])
    # A network with ToDense may return a larger map than the plain one: that is what the layer is for.
    compared = slice(0, 2) if any(issubclass(rule, ToDense) for rule, _ in plan.layers.values()) else slice(None)
    for training, shapes in plan.shapes.items():
        running.clear()
        try:
            converted = [tuple(leaf.shape) for leaf in outputs(dry.train(training), inputs)]
        except ConversionError:
            raise
        except Exception as error:
            where = next((repr(name) for name in reversed(running) if name), "the model's own forward")
            raise ConversionError(
                f"convert: the converted network breaks in {where}: {gist(error)}. A forward that reshapes or "
                "splits by the batch size of its input (x.size(0)) does not fit submaps; x.flatten(1) does."
            ) from error
        if shapes and [shape[compared] for shape in converted] != [shape[compared] for shape in shapes]:
            raise ConversionError(
                f"convert: the converted network returns {converted}, the plain one {shapes}: its forward mixes "
                "submaps with images."
            )


def _apply(model: nn.Module, plan: Plan, sampling: Sampling) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Changes a model; returns the modules of another class and those that were only told their place."""
    if sampling.name == "traditional":  # that is the plain network to the last bit
        return (), ()
    modules = dict(model.named_modules())
    changed, placed = list[str](), list[str]()
    for name, (rule, placement) in plan.layers.items():
        (placed if isinstance(modules[name], rule) else changed).append(name)
        become(modules[name], rule)
        modules[name].__dict__["placement"] = placement
    for name, table in plan.tables.items():
        become(modules[name], Calling)
        modules[name].__dict__["_calls"] = table
        changed.append(name)
    for name, hook in plan.heads.items():
        modules[name].register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
    if any(plan.outputs.values()):
        model.register_forward_hook(MergeOutputs(plan.outputs), prepend=True)
    elif plan.heads:
        head, hook = list(plan.heads.items())[-1]
        model.register_forward_pre_hook(MergeReplaced(head, hook), prepend=True)
        if plan.counts:
            model.register_forward_hook(CountImages())
    if plan.draws is not None:
        plan.draws.attach(model)
    return tuple(dict.fromkeys(changed)), tuple(placed)
