"""What the suites measure, and what scripts/benchmark.py and task=benchmark write."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import ccnn
from ccnn.benchmark import measure, networks
from ccnn.benchmark.job import run_job
from ccnn.benchmark.networks import FORMS, build
from ccnn.benchmark.output import short_table
from ccnn.benchmark.profile import profile_step
from ccnn.benchmark.suites import NETWORKS, SUITES
from ccnn.benchmark.timing import Limits, Timing
from ccnn.benchmark.workload import Task, Workload
from ccnn.errors import UserError
from ccnn.models import resnet
from scripts import benchmark

ONCE = Limits(rounds=1, seconds=5.0, patience=60.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "speeed"], "--only: got 'speeed'; did you mean 'speed'?"),
        (["--networks", "resnet5"], "--networks: got 'resnet5'; did you mean 'resnet"),
        (["--rounds", "0"], "--rounds: got '0', expected a whole number from 1 to 1000"),
        (["--output", f"{__file__}/here"], "--output: "),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"Error: {message}")


def test_suites_name_forms_and_networks_that_exist() -> None:
    for suites in SUITES.values():
        for suite in suites:
            assert {form for forms in suite.forms.values() for form in forms} <= FORMS.keys()
    for name in NETWORKS:
        with torch.device("meta"):
            assert ccnn.parameters(build(name)) > 0


def test_ratios_are_over_the_first_form_of_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {
        "plain, float32": 2.0, "naive, float32": 6.0, "plain, recommended": 1.0, "naive, recommended": 2.0,
    }  # fmt: skip
    monkeypatch.setattr(
        measure,
        "interleave",
        lambda candidates, limits: {c.name: Timing((seconds[c.name],) * 3) for c in candidates},
    )
    size = (1, 28, 28)
    tasks = [Task(2, size), Task(2, size, settings="recommended")]
    rows = measure.measure("toy", [(form, task) for task in tasks for form in ("plain", "naive")])
    assert [row["time, ×"] for row in rows] == [1.0, 3.0, 1.0, 2.0]
    plain = ccnn.multiply_adds(build("toy"), size)
    naive = ccnn.multiply_adds(ccnn.convert(build("toy"), size, "naive"), size)
    assert rows[1]["multiply-adds, G"] == pytest.approx(2 * naive / 1e9)
    assert rows[1]["multiply-adds, ×"] == pytest.approx(naive / plain)
    assert rows[1]["memory, ×"] > 1


def test_a_form_that_fails_is_noted_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(model: nn.Module, size: Any) -> nn.Module:
        raise ccnn.ConversionError("convert: nothing to convert")

    monkeypatch.setitem(networks.FORMS, "lattice", unable)
    task = Task(2, (1, 28, 28))
    plain, failed = measure.measure("toy", [("plain", task), ("lattice", task)], limits=ONCE)
    assert "ConversionError: convert: nothing to convert" in failed["note"]
    assert (failed["time, s"], failed["memory, MB"], failed["multiply-adds, G"]) == (None, None, None)
    assert plain["rounds"] == 1


def test_a_compiled_form_notes_how_long_compiling_took(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_with(self, backend="eager"))
    (row,) = measure.measure("toy", [("plain", Task(2, (1, 28, 28), settings="compiled"))], limits=ONCE)
    assert row["note"].startswith("compiled in ")
    assert row["memory, MB"] is None  # The simulation does not know what compiling saves.


def test_the_profile_counts_each_convolution() -> None:
    plain = resnet(18, channels=(8, 12, 16, 20))
    task = Task(2, (3, 32, 32), training=True)
    calls = []
    for model in (plain, ccnn.convert(resnet(18, channels=(8, 12, 16, 20)), task.input_size)):
        operations = profile_step(Workload(model, task), steps=1).set_index("operation")
        assert operations["share, %"].is_monotonic_decreasing
        calls.append(operations.loc["convolution_backward" if "convolution_backward" in operations.index else
                                    "mkldnn_convolution_backward", "calls"])  # fmt: skip
    # The network has 20 convolutions; its three strided 3×3 ones run once per position.
    assert calls == [20, 23]


def test_what_does_not_run_still_has_its_memory_and_multiply_adds(tmp_path: Path, monkeypatch: Any) -> None:
    """Through task=benchmark_quick, whose table3.csv scripts/report.py reads."""
    monkeypatch.setattr("ccnn.benchmark.job.free_memory", lambda device: 1000)
    (suite,) = SUITES["table3"]
    monkeypatch.setitem(SUITES, "table3", (replace(suite, training=(False,)),))
    config: Any = SimpleNamespace(
        model=SimpleNamespace(name="squeezenet1_1"),
        trainer=SimpleNamespace(accelerator="cpu"),
        task="benchmark_quick",
    )
    run_job(config, tmp_path)
    table = pd.read_csv(tmp_path / "table3.csv")
    assert list(table["form"]) == ["original", "dilated", "checkered, naive", "checkered, lattice"]
    assert table["note"].str.startswith("not run: needs").all()
    assert table["time, s"].isna().all()
    assert (table[["memory, MB", "multiply-adds, G"]] > 0).all(axis=None)
    assert table.loc[1, "multiply-adds, ×"] > 50
    config.model.name = "squeezenet"
    with pytest.raises(UserError, match=r"model.name is 'squeezenet'; did you mean 'squeezenet1_1'"):
        run_job(config, tmp_path)


def test_a_short_table_keeps_the_order_and_shows_what_is_missing() -> None:
    rows = [
        {"network": "b", "task": "t", "form": "plain", "time, ×": 1.0},
        {"network": "b", "task": "t", "form": "lattice", "time, ×": 1234.5},
        {"network": "a", "task": "t", "form": "plain", "time, ×": None},
        {"network": "a", "task": "t", "form": "lattice", "time, ×": 0.0123456},
    ]
    assert short_table("methods", pd.DataFrame(rows)).splitlines()[2:] == [
        "| network | task | plain | lattice |",
        "| --- | --- | ---: | ---: |",
        "| b | t | 1 | 1,234 |",
        "| a | t | – | 0.0123 |",
    ]


@pytest.mark.slow
def test_a_quick_run_writes_every_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling is left out: it takes most of the time, and a test of its own covers it."""
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)
    monkeypatch.setattr(
        sys, "argv", ["benchmark.py", "--quick", "--rounds", "1", "--networks", "toy", "vgg11_bn", "squeezenet1_1",
                      "--output", str(tmp_path)],
    )  # fmt: skip
    benchmark.main()
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"{suite}.{ending}" for suite in benchmark.SUITES for ending in ("csv", "md")} <= names
    assert {"speed.png", "methods.png", "table3.png"} <= names
    speed = pd.read_csv(tmp_path / "speed.csv")
    assert (speed["time, s"] > 0).all()
    assert set(speed["network"]) == {"vgg11_bn", "squeezenet1_1"}
    assert set(pd.read_csv(tmp_path / "layers.csv")["time, ×"] > 0) == {True}
    assert pd.read_csv(tmp_path / "input.csv")["images/s"].min() > 0
