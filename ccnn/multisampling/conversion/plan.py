"""The plan of a conversion: which layers change, and the number of submaps that each of them receives."""

import copy
from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import nn

from ..base import Multisampling
from ..joint import JointReduction
from ..samplers import Sampling
from ..windows import strides
from .disagreement import DisagreementError, remedy
from .meta import ConversionError, InputSize, skeleton
from .rules import find_joint, find_rule
from .survey import Survey, survey
from .trial import Plan, SeenApartError, Trial, named_calls

__all__ = ["Plan", "plan"]


def plan(model: nn.Module, input_size: InputSize, sampling: Sampling) -> Plan:
    """Plans the conversion of a model, which is not touched; neither is torch's generator.

    Raises:
        ConversionError: if the network does not run, has nothing to convert, or falls apart when converted.
    """
    with torch.random.fork_rng(devices=[]):
        dry = skeleton(model)
        plain = survey(dry, input_size)
        if sampling.draws and plain.no_training:
            raise ConversionError(
                f"convert: sampling={sampling.name!r} draws in training, and the network does not run in training "
                f"in a dry run, which has shapes but no numbers: {plain.no_training}"
            )

        def attempt(sampling: Sampling) -> Plan:
            rules, traditional = _choose(dry, plain, sampling)
            if sampling.skip_first:
                every = Sampling("naive", only=sampling.only, skip=sampling.skip)
                traditional |= _first_levels(_plan(dry, rules, plain, traditional, input_size, every), sampling)
                rules = {name: rule for name, rule in rules.items() if name not in traditional}
            return _plan(dry, rules, plain, traditional, input_size, sampling)

        try:
            return attempt(sampling)
        except DisagreementError as error:
            raise ConversionError(f"{error} {remedy(error, sampling, attempt)}") from error


Rules = dict[str, type[nn.Module] | None]
"""What each layer that changes becomes; None for functional calls."""


def _plan(
    dry: nn.Module,
    rules: Rules,
    plain: Survey,
    traditional: dict[str, str],
    input_size: InputSize,
    sampling: Sampling,
) -> Plan:
    rules, traditional = dict(rules), dict(traditional)
    while True:
        trial = Trial(copy.deepcopy(dry), rules, plain, Plan(traditional=dict(traditional)), input_size, sampling)
        try:
            return trial.run()
        except SeenApartError as seen:
            # A shared dropout or pooling that several levels call: plain, it treats each submap alone.
            del rules[seen.name]
            traditional[seen.name] = "called at several levels, so it treats each submap on its own"


def _choose(dry: nn.Module, plain: Survey, sampling: Sampling) -> tuple[Rules, dict[str, str]]:
    """Which layers change and into what; which do not, and why."""
    rules: Rules = {}
    traditional: dict[str, str] = dict(plain.functional)
    candidates: dict[str, tuple[nn.Module, type[Multisampling] | None]] = {}
    for name, module in dry.named_modules():
        if isinstance(module, Multisampling):
            if strides(module) != (1, 1):
                raise ConversionError(
                    f"convert: {name or 'the model'!r} is a multisampling layer already; convert the plain network"
                )
            rules[name] = type(module)
        elif (joint := find_joint(module)) is not None:
            rules[name] = joint
        elif _strided(module):
            rule, reason = find_rule(module)
            reason = rule.refuses(module) or "" if rule else reason
            if reason:
                traditional[name] = reason
            else:
                candidates[name] = (module, rule)
    for call in (call for calls in plain.calls.values() for call in named_calls(calls)):
        if isinstance(call, JointReduction):
            rules[call.where] = None
        else:
            candidates[call.where] = (call, None)
    for name, reason in _excluded({name: strides(m)[0] for name, (m, _) in candidates.items()}, plain, sampling):
        traditional[name] = reason
        del candidates[name]
    return rules | {name: rule for name, (_, rule) in candidates.items()}, traditional


def _strided(module: nn.Module) -> bool:
    known = (
        isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.LPPool2d)
        or find_rule(module)[0] is not None
    )
    return known and strides(module) != (1, 1)


def _matches(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)  # a name such as `cell.max_pool2d[0]` is no glob of itself


def _excluded(candidates: dict[str, int], plain: Survey, sampling: Sampling) -> Iterator[tuple[str, str]]:
    """The strided layers that the sampling leaves traditional, and why.

    Raises:
        ConversionError: for a glob that matches none of them.
    """
    for glob in (*sampling.only, *sampling.skip):
        if not any(_matches(name, glob) for name in candidates):
            raise ConversionError(
                f"convert: no strided layer matches the name {glob!r}; there are {', '.join(candidates) or 'none'}"
            )
    for name, stride in candidates.items():
        if sampling.only and not any(_matches(name, glob) for glob in sampling.only):
            yield name, f"only {', '.join(sampling.only)}"
        elif any(_matches(name, glob) for glob in sampling.skip):
            yield name, f"skip {', '.join(sampling.skip)}"
        elif name in plain.whole:
            yield name, "pools its whole map at once, as heads do"
        elif refusal := sampling.refuses(stride):
            yield name, refusal


def _first_levels(every: Plan, sampling: Sampling) -> dict[str, str]:
    """The layers of the first levels, which `skip_first` leaves traditional, when every level is converted."""
    skipped = {}
    for name, visits in every.visits.items():
        levels = {len(visit.path) for visit in visits}
        if min(levels) > sampling.skip_first:
            continue
        if max(levels) > sampling.skip_first:
            raise ConversionError(
                f"convert: {name!r} is called at the levels {' and '.join(map(str, sorted(levels)))} of the "
                f"network, and skip_first={sampling.skip_first} lies between them. Give each call a layer of "
                "its own."
            )
        skipped[name] = f"skip_first {sampling.skip_first}"
    return skipped
