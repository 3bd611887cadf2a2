"""Heads: the modules at whose input a map has become a row for each image, so that its submaps can be merged."""

from collections.abc import Iterator

from .lineage import Lineage
from .nodes import Node, Trace


def merged_nodes(trace: Trace, heads: set[str]) -> dict[Node, set[str]]:
    """The tensors that descend from what is merged at some heads, and from which of these."""
    inside = {node: name for name, nodes in trace.rows_in if name in heads for node in nodes.values()}
    merged: dict[Node, set[str]] = {}
    for node in trace.nodes:
        owners = {inside[node]} if node in inside else set()
        owners = owners.union(*(merged[parent] for parent in node.parents if parent in merged))
        if owners:
            merged[node] = owners
    return merged


def misplaced_heads(trace: Trace, heads: set[str]) -> set[str]:
    """Those heads whose results meet submaps again, as those of squeeze-and-excitation do."""
    inside = {node for name, nodes in trace.rows_in if name in heads for node in nodes.values()}
    merged, bad = merged_nodes(trace, heads), set[str]()
    for node, owners in merged.items():
        folded = any(
            parent.lineage.steps and parent.is_batched and parent not in merged for parent in node.parents
        )
        if folded and node not in inside:
            bad |= owners
    return bad


def head_calls(trace: Trace, heads: set[str]) -> Iterator[tuple[str, tuple[int, ...], Lineage]]:
    """The calls of heads that get submaps: name, places of the tensors among the arguments, their lineage."""
    merged = merged_nodes(trace, heads)
    for name, nodes in trace.rows_in:
        folded = {
            place: parent
            for place, node in nodes.items()
            for parent in node.parents
            if parent not in merged and parent.lineage.steps
        }
        if name in heads and folded:
            yield name, tuple(folded), next(iter(folded.values())).lineage
