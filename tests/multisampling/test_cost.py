"""docs/cost.md says what scripts/cost.py computes, and docs/reproduce.md repeats it."""

import re

import pytest
from experiments import Compose

from ccnn.report.paper import BASELINES, NAMES, TABLES
from scripts import cost

PAGE = cost.PAGE.read_text(encoding="utf-8")


def line(row: dict[str, str]) -> str:
    return f"| {' | '.join(row.values())} |"


@pytest.mark.parametrize(
    ("table", "model", "data"),
    [
        ("table1", "densenet_bc40", "cifar10"),
        ("table1", "vgg11_bn", "cifar100"),
        ("table7", "resnet18_tiny", "cifar100"),
        ("table8", "toy", "mnist"),
        ("table8", "toy_2x3x3", "mnist"),
    ],
)
def test_the_page_has_the_scripts_lines(table: str, model: str, data: str, compose: Compose) -> None:
    assert line(cost.row(table, model, data, cost.trained(model, data))) in PAGE.splitlines()


def test_the_page_has_the_scripts_assumptions_and_pretrained_networks(compose: Compose) -> None:
    text = " ".join(PAGE.split())
    assert f"at {cost.SPEED / 1e12:.0f} · 10¹² operations a second" in text
    assert f"no less than {cost.STEP * 1e3:.0f} ms and {cost.LAYER * 1e6:.0f} µs a layer" in text
    assert line(cost.table2("squeezenet1_1")[0]) in PAGE.splitlines()
    assert line(cost.table3("squeezenet1_1")) in PAGE.splitlines()


def test_the_totals_are_those_of_the_lines() -> None:
    """Within the rounding of each line, three seeds in so many augmentations as the paper has."""
    found = {tuple(line.split(" | ")[:3]): line.split(" | ")[5:] for line in PAGE.splitlines()}
    for name in TABLES:
        total, rounding = 0.0, 0.5
        for model, data, *runs in cost.cells(name):
            hours = [text.strip(r"\*| ") for text in found[f"| {name}", NAMES[model], data]]
            assert (hours[0] == "") == (model in BASELINES)
            total += sum(cost.SEEDS * count * float(text or 0) for count, text in zip(runs, hours, strict=True))
            rounding += sum(0.05 * cost.SEEDS * count for count in runs)
        [told] = re.findall(rf"- {name}, three seeds: about (\d+) GPU hours", PAGE)
        assert float(told) == pytest.approx(total, abs=rounding)


def test_the_guide_repeats_the_totals() -> None:
    guide = (cost.PAGE.parent / "reproduce.md").read_text(encoding="utf-8")
    lines = {name: line for line in guide.splitlines() if (name := line[2:9].lower().replace(" ", "")) in PAGE}
    for name, hours in re.findall(r"- (\w+)[^:\n]*: about ([\d.]+) GPU hours", PAGE):
        assert re.search(rf"\b{hours}\b", lines[name]), (name, hours)


def test_small_batches_are_bound_by_the_processor(compose: Compose) -> None:
    """Ten million steps of Table 8 take hours, however small the network."""
    toy = cost.trained("toy", "mnist")
    assert toy["cnn bound"]
    assert toy["ccnn bound"]
    assert toy["cnn hours"] >= 375_000 * cost.STEP / 3600
    assert cost.trained("toy_2x3x3", "mnist")["cnn"] == toy["cnn"]
