"""The plan of a conversion: traces until all that meets is aligned, then what each place is told."""

from torch import nn

from ..windows import strides
from .changes import Plan
from .heads import merged_nodes, misplaced_heads
from .lineage import Lineage, Policy, matches
from .meta import ConversionError, Inputs, gist
from .nodes import Trace
from .placing import Placer
from .trace import Tracer


class Planner:
    """Plans a conversion.

    Args:
        dry: a skeleton of the plain network.
        inputs: what it is run with.
        policy: the sampling method, and which places it is for.
        merge: "auto", the name of a module, or None.
        strict: whether a side branch that would have to stay traditional is an error.
    """

    def __init__(self, dry: nn.Module, inputs: Inputs, policy: Policy, merge: str | None, strict: bool) -> None:
        self.dry, self.inputs, self.policy, self.merge, self.strict = dry, inputs, policy, merge, strict
        self.modules = dict(dry.named_modules())
        self.problems: list[str] = []
        self.no_training = ""
        self.heads: set[str] = set()

    def run(self) -> Plan:
        """The plan.

        Raises:
            ConversionError: with all problems that were found.
        """
        if self.merge not in ("auto", None):
            if self.merge not in self.modules:
                raise ConversionError(f"convert: merge: there is no module named {self.merge!r}")
            self.policy.heads = {str(self.merge)}
        traces = self._settled()
        placer = Placer(self.policy, traces)
        plan = placer.run(None if self.merge is None else self.policy.heads or self.heads)
        self._globs()
        found = [problem for trace in traces.values() for problem in trace.problems]
        problems = list(dict.fromkeys([*self.problems, *found, *self.policy.problems, *placer.problems]))
        if not plan.converted and not problems:
            left = "; ".join(f"{name or 'the model'} ({why})" for name, why in plan.traditional.items())
            problems.append(
                "nothing to convert, the network has no layer with a stride above 1 that can become a "
                f"multisampling layer. Layers that stay traditional: {left or 'none'}"
            )
        if problems:
            raise ConversionError(_listed(problems))
        return plan

    # --- which places keep submaps -------------------------------------------------------------------------

    def _settled(self) -> dict[bool, Trace]:
        """Traces in evaluation and training, once all that meets is aligned."""
        while True:
            traces = self._traces()
            if not (self._align(traces) or self._ends(traces) or self._find_heads(traces)):
                return traces

    def _traces(self) -> dict[bool, Trace]:
        traces: dict[bool, Trace] = {}
        for training in (False, True):
            tracer = Tracer(self.dry, self.policy)
            try:
                traces[training] = tracer.run(self.inputs, training)
            except ConversionError:
                raise
            except Exception as error:
                if not training:
                    size = f"images of input_size={self.inputs.size} (channels, height, width)"
                    size = size if self.inputs.size else "its inputs"
                    raise ConversionError(
                        f"convert: the plain network does not run on {size} in a dry run, with "
                        f"shapes and no numbers (the meta device): {gist(error)}"
                    ) from error
                self.no_training = gist(error)
            if not training and not traces[training].outputs:
                raise ConversionError(
                    "convert: the network returns no tensors, nor lists, tuples or dictionaries of them; have it "
                    "return one of these"
                )
        if self.policy.sampling.draws and self.no_training:
            raise ConversionError(
                f"convert: sampling={self.policy.sampling.name!r} draws in training, and the network does not run "
                f"in training in a dry run, which has shapes but no numbers: {self.no_training}"
            )
        return traces

    def _align(self, traces: dict[bool, Trace]) -> bool:
        """Makes traditional what one side of a meeting has more than the other; whether that was anything."""
        changed = False
        for trace in traces.values():
            for one, other, where in trace.meetings:
                common = 0
                for a, b in zip(one.steps, other.steps, strict=False):
                    if not self.policy.same(
                        Lineage((*one.steps[:common], a)), Lineage((*other.steps[:common], b))
                    ):
                        break
                    common += 1
                counts = " and ".join(map(str, sorted(map(self.policy.submaps, (one, other)))))
                reason = f"branches of {counts} submaps meet in {where}"
                if counts.split()[0] == counts.split()[-1]:
                    reason = f"branches whose {counts.split()[0]} submaps are at other positions meet in {where}"
                places = dict.fromkeys(step.place for step in (*one.steps[common:], *other.steps[common:]))
                fresh = [place for place in places if place not in self.policy.traditional]
                if self.strict and fresh:
                    names = ", ".join(map(repr, fresh))
                    self.problems.append(f"{reason}; strict=True does not leave {names} traditional")
                if any(step.depth > 1 for step in (*one.steps[common:], *other.steps[common:])):
                    self.problems.append(reason)
                    fresh = [place for place in fresh if strides(self.modules[place]) != (1, 1)] if fresh else []
                for place in fresh:
                    self.policy.traditional[place] = reason
                    changed = True
        return changed

    def _ends(self, traces: dict[bool, Trace]) -> bool:
        """Finds average poolings of 2×2 windows that reduce the last map of the network."""
        found = {
            place
            for trace in traces.values()
            for place, maps in trace.last_map.items()
            if place and maps == trace.last_map[""]
        } - self.policy.reduced
        self.policy.reduced |= found
        return bool(found)

    def _globs(self) -> None:
        sampling = self.policy.sampling
        for glob in (*sampling.only, *sampling.skip):
            if not any(matches(name, [glob]) for name in self.policy.seen):
                there = ", ".join(self.policy.seen) or "none"
                self.problems.append(f"no strided layer matches the name {glob!r}; there are {there}")
        for place, levels in self.policy.levels.items():
            if min(levels) <= sampling.skip_first < max(levels):
                called = " and ".join(map(str, sorted(levels)))
                self.problems.append(
                    f"{place!r} is called at the levels {called} of the network, and "
                    f"skip_first={sampling.skip_first} lies between them. Give each call a layer of its own"
                )

    def _find_heads(self, traces: dict[bool, Trace]) -> bool:
        """Finds the heads; whether the network must be traced again since something subsamples after one."""
        if self.merge != "auto" or self.policy.heads:
            return False
        self.heads = {name for trace in traces.values() for name, _ in trace.rows_in}
        while bad := {name for trace in traces.values() for name in misplaced_heads(trace, self.heads)}:
            self.heads -= bad
        merged = {training: merged_nodes(trace, self.heads) for training, trace in traces.items()}
        if not any(
            visit.node in merged[mode] and visit.what != "plain"
            for mode in traces
            for visit in traces[mode].visits
        ):
            return False
        self.policy.heads = self.heads
        return True


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return f"convert: {problems[0]}."
    return "\n  - ".join([f"convert: {len(problems)} problems:", *problems])
