"""What each place is told: the number of submaps, the samplers, what takes the place of a function, the merge."""

from typing import Any

import torch

from ..base import Placement
from ..draws import Draws
from ..joint import Joint, ToDense
from ..samplers import Assignment
from ..submaps import offsets
from ..windows import strides
from .axes import batch_at, rows
from .calls import Action, CallTable, Entry, JointPool
from .changes import Plan
from .functional import POOLINGS
from .heads import head_calls, merged_nodes
from .lineage import Lineage, Policy
from .merge import MergeInput
from .meta import IMAGES
from .nodes import Node, Trace, Visit
from .report import ConvertedLayer


class Placer:
    """Makes a plan of what traces have shown.

    Args:
        policy: which places keep submaps.
        traces: in evaluation and in training.
    """

    def __init__(self, policy: Policy, traces: dict[bool, Trace]) -> None:
        self.policy, self.traces, self.plan = policy, traces, Plan()
        self.problems: list[str] = []
        if policy.sampling.draws:
            self.plan.draws = Draws(policy.sampling)

    def run(self, heads: set[str] | None) -> Plan:
        """The plan; `problems` says what is wrong with it.

        Args:
            heads: the modules at whose input submaps are merged; None to merge nowhere.
        """
        self._place([visit for trace in self.traces.values() for visit in trace.visits])
        for training, trace in self.traces.items():
            self.plan.shapes[training] = [shape for _, _, shape in trace.outputs]
        if heads is None:
            self.plan.shapes = {mode: [] for mode in self.plan.shapes}  # submaps are returned: nothing to compare
        else:
            self._merge(heads)
        self._note()
        seen = [
            {(visit.place, visit.what, visit.node.lineage) for visit in t.visits} for t in self.traces.values()
        ]
        if self.plan.draws is None and seen[0] == seen[-1]:
            self.plan.shapes.pop(True, None)  # Training does the same, so that there is nothing more to compare.
        return self.plan

    def _note(self) -> None:
        """Says what stays traditional."""
        notes = self.plan.traditional
        notes |= {place: why for place, why in self.policy.traditional.items() if place not in notes}
        for trace in self.traces.values():
            for place, (lineage, why) in trace.unseen.items():
                if lineage.resized or self.policy.submaps(lineage) > 1:
                    notes.setdefault(place, why)

    def _place(self, visits: list[Visit]) -> None:
        plan = self.plan
        by_place: dict[tuple[str, Lineage | None], list[Visit]] = {}
        for visit in visits:
            if visit.what != "plain":
                # Training and evaluation may have calls at different levels under one name.
                function = visit.what == "joint" and not visit.frame.name and visit.call
                apart = function and function.kind not in POOLINGS
                by_place.setdefault((visit.place, visit.node.lineage if apart else None), []).append(visit)
        actions: dict[tuple[str, Lineage], Action] = {}
        for (place, _), calls in by_place.items():
            for visit in calls:
                if visit.what == "strided":
                    self._report(visit)
            placement = self._placement(place, calls)
            if placement is None:
                continue
            visit = calls[0]
            if visit.what == "merge":
                plan.merge.append(place)
                plan.submaps = max(plan.submaps, placement.submaps)
            elif visit.what == "joint" and place not in plan.joint:
                plan.joint.append(place)
            if visit.call is None:
                rule = visit.frame.role.rule
                if visit.what == "joint" and visit.how:
                    rule = JointPool
                if rule is not None:
                    plan.layers[place] = rule, placement
            else:
                for visit in calls:
                    actions[place, visit.node.lineage] = Action(visit.what, visit.call, visit.how, placement)  # type: ignore[arg-type]
        self._tables(visits, actions)
        self._steps(visits)

    def _placement(self, place: str, calls: list[Visit]) -> Placement | None:
        """What a place is told; None if it stays as it is."""
        policy, sampling, visit = self.policy, self.policy.sampling, calls[0]
        what = {call.what for call in calls}
        counts = sorted({policy.submaps(call.node.lineage) for call in calls})
        training = {policy.submaps(call.node.lineage, True) for call in calls}
        name, joined = repr(place) if place else "the model", " and ".join(map(str, counts))
        if len(what) > 1:
            self._problem(
                f"{name} is called on maps of which its window covers some; give each call a module of its own"
            )
            return None
        common: dict[str, Any] = {"draws": self.plan.draws}
        if visit.what in ("joint", "merge"):
            if len(counts) > 1 or len(training) > 1:
                if visit.what == "merge":
                    self._problem(f"{name} is called with {joined} submaps; give each call a module of its own")
                self.plan.traditional[place] = "called at several levels, so it treats each submap on its own"
                return None
            if max(*counts, *training) == 1:
                return None
            return Placement(counts[0], submaps_training=training.pop(), **common)
        if visit.what == "placed":
            return self._placed(name, visit, counts)
        paths = {call.path for call in calls}
        try:
            samplers = {path: sampling.assignment(path) for path in paths}
        except ValueError as error:
            self.problems.append(str(error))
            return None
        needs = sampling.draws or any(len(each) > 1 for each in samplers.values())
        if (len(counts) > 1 and needs) or (len(paths) > 1 and sampling.draws) or len(set(samplers.values())) > 1:
            self._problem(
                f"{name} is called with {joined} submaps, and with sampling={sampling.name!r} each needs "
                "samplers of its own. Give each call a module of its own, or use sampling='naive'"
            )
            return None
        path = min(paths, key=len)
        if self.plan.draws is not None:
            self.plan.draws.paths.add(path)
        return Placement(
            counts[0],
            samplers[path],
            sampling.name,
            sampling.border,
            path,
            submaps_training=min(training),
            **common,
        )

    def _placed(self, name: str, visit: Visit, counts: list[int]) -> Placement | None:
        """What a layer is told that knew of submaps before."""
        module, lineage, sampling = visit.frame.module, visit.node.lineage, self.policy.sampling
        if not isinstance(module, ToDense | Joint) and strides(module) != (1, 1):
            self._problem(f"{name} is a multisampling layer already; convert the plain network")
            return None
        if len(counts) > 1:
            joined = " and ".join(map(str, counts))
            self._problem(f"{name} is called with {joined} submaps; give each call a module of its own")
            return None
        common: dict[str, Any] = {
            "submaps": counts[0],
            "submaps_training": self.policy.submaps(lineage, True),
            "draws": self.plan.draws,
        }
        if not isinstance(module, ToDense):
            return Placement(method=sampling.name, **common)
        if sampling.draws:
            self._problem(
                f"{name} puts submaps back to their places, which sampling={sampling.name!r} draws in every step; "
                "use a method that does not"
            )
            return None
        path = lineage.path
        if any(step.depth > 1 for step in lineage.steps):
            self._problem(f"{name} receives {counts[0]} submaps, which no steps of subsampling give")
            return None
        steps = [(stride, sampling.assignment(path[: i + 1])) for i, stride in enumerate(path)]
        return Placement(method="dense", path=path, offsets=tuple(offsets(steps)), **common)

    def _tables(self, visits: list[Visit], actions: dict[tuple[str, Lineage], Action]) -> None:
        """The table of each module that calls functions which change, and empty ones for modules within."""
        policy, plain = self.policy, Placement(draws=self.plan.draws)
        acting = {
            visit.frame.name for visit in visits if (visit.place, visit.node.lineage) in actions and visit.call
        }
        for training, visit in ((mode, visit) for mode, trace in self.traces.items() for visit in trace.visits):
            owner = visit.frame.name
            if visit.call is None or owner not in acting:
                continue
            table = self.plan.tables.setdefault(owner, CallTable(plain, visit.frame.leaf))
            action = actions.get((visit.place, visit.node.lineage)) if visit.what != "plain" else None
            here, entered = visit.node, visit.frame.entered or visit.node
            evaluated, drawn = (
                (
                    rows(here.axes) * policy.submaps(here.lineage, mode),
                    rows(entered.axes) * policy.submaps(entered.lineage, mode),
                )
                for mode in (False, True)
            )
            keys = [visit.call]
            if visit.what == "joint" and visit.call.kind in POOLINGS:
                keys.append(visit.call.whole)
            for key in keys:
                entry = Entry(visit.place, evaluated, drawn, action, training)
                known = table.entries.setdefault(key, [])
                if entry not in known:
                    known.append(entry)
        for name in {name for trace in self.traces.values() for name in trace.callers}:
            if any(name != owner and (not owner or name.startswith(f"{owner}.")) for owner in acting):
                self.plan.tables.setdefault(name, CallTable(plain))

    def _report(self, visit: Visit) -> None:
        before = self.policy.submaps(visit.node.lineage)
        stride = visit.stride
        kept = len(self._assignment(visit.path)[0])
        kind = type(visit.frame.module).__name__ if visit.place == visit.frame.name else "functional"
        layer = ConvertedLayer(visit.place, kind, stride, (before, before * kept), visit.size)
        if layer not in self.plan.converted:
            self.plan.converted.append(layer)

    def _assignment(self, path: tuple[int, ...]) -> Assignment:
        try:
            return self.policy.sampling.assignment(path)
        except ValueError:
            return (((0, 0),),)

    def _steps(self, visits: list[Visit]) -> None:
        paths = [v.path for v in visits if v.what == "strided"]
        path = max(paths, key=len, default=())
        self.plan.steps = tuple((stride, self._assignment(path[: i + 1])) for i, stride in enumerate(path))

    def _merge(self, heads: set[str]) -> None:
        """Merges at the heads, and at those outputs that still hold submaps."""
        plan, policy = self.plan, self.policy
        for trace in self.traces.values():
            for name, places, lineage in head_calls(trace, heads):
                if policy.submaps(lineage) == policy.submaps(lineage, True) == 1:
                    continue
                hook = MergeInput(self._told(lineage), places)
                known = plan.heads.setdefault(name, hook)
                if known.placement != hook.placement or known.places != hook.places:
                    self._problem(
                        f"{name!r} is called with different numbers of submaps; give each call its own module"
                    )
        for training, trace in self.traces.items():
            merged = merged_nodes(trace, heads)
            plan.outputs[training] = {
                place: (self._told(node.lineage), dim)
                for place, (node, dtype, _) in enumerate(trace.outputs)
                if node is not None
                and node not in merged
                and (dim := self._output(place, node, dtype)) is not None
            }
        plan.outputs.setdefault(True, plan.outputs[False])  # of a network that cannot train without numbers
        plan.counts = all(
            shapes and len(shapes) == 1 and shapes[0][:1] == (IMAGES,) for shapes in plan.shapes.values()
        )
        plan.merge = [*plan.heads, *plan.merge, *(["output"] if any(plan.outputs.values()) else [])]
        evaluated = [policy.submaps(lineage) for _, _, lineage in head_calls(self.traces[False], heads)]
        merged_outputs = [placement.submaps for placement, _ in plan.outputs[False].values()]
        plan.submaps = max([plan.submaps, *evaluated, *merged_outputs])

    def _output(self, place: int, node: Node, dtype: torch.dtype) -> int | None:
        """The dimension of an output in which its submaps are; None if it has none."""
        policy = self.policy
        if not node.is_batched or policy.submaps(node.lineage) == policy.submaps(node.lineage, True) == 1:
            return None
        dim = batch_at(node.axes)
        if dim is None:
            self._problem(
                f"the batch is not a dimension of its own in output {place}, so its submaps cannot be merged"
            )
        elif not (dtype.is_floating_point or dtype.is_complex):
            self._problem(
                f"output {place} holds {dtype}, and the submaps of integers have no mean; return the numbers that "
                "they come from, or convert with merge=None"
            )
        elif node.is_map and policy.shift(node.lineage) >= 1:
            self._problem(
                f"output {place} is a map on a finer grid than the last subsampling left, and its submaps are "
                "displaced by whole pixels: their mean would be blurred. Put a ccnn.ToDense where the backbone "
                "ends, name in merge= the module before which submaps are merged, or convert with merge=None"
            )
        return dim

    def _told(self, lineage: Lineage) -> Placement:
        count, training = self.policy.submaps(lineage), self.policy.submaps(lineage, True)
        return Placement(count, submaps_training=training, draws=self.plan.draws)

    def _problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
