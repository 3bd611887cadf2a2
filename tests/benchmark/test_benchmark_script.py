"""scripts/benchmark.py: its command line, its tables and page, and a whole quick run."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import ccnn
from ccnn.benchmark import networks, profile, roofline, speed, table3
from ccnn.benchmark.names import SUITES
from ccnn.benchmark.networks import Entry, Options, build, measure
from ccnn.benchmark.tables import Bar, Result, Table, in_markdown, shown, write_csv
from ccnn.benchmark.timing import Limits, Timing
from ccnn.benchmark.workload import Task
from scripts import benchmark

SCRIPT = Path(benchmark.__file__)
TINY = Options(limits=Limits(rounds=1, seconds=5.0, patience=60.0), quick=True, say=lambda text: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "speeed"], "--only: got 'speeed'; did you mean 'speed'?"),
        (["--networks", "resnet5"], "--networks: got 'resnet5'; did you mean 'resnet"),
        (["--repeats", "0"], "--repeats: expected a whole number above 0, got '0'"),
        (["--repeats", "2.5"], "--repeats: expected a whole number above 0, got '2.5'"),
        (["--seconds", "inf"], "--seconds: expected a number above 0, got 'inf'"),
        (["--device", "tpu"], "--device: got 'tpu'; "),
        (["--output", str(SCRIPT / "here")], "--output: "),
        (["--rounds", "3"], "--rounds: there is no such option; did you mean --"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {message}")
    assert err.count("\n") == 1


def test_bars_are_met_by_the_median() -> None:
    assert Bar("", "", (0.9, 0.8, 1.2), 0.9).met
    assert not Bar("", "", (0.91, 0.8, 1.2), 0.9).met
    assert Bar("", "", (1.5, 1.0, 2.0), 1.5, at_least=True).met
    assert not Bar("", "", (1.49, 1.0, 2.0), 1.5, at_least=True).met
    failed = Bar("", "", None, 0.9, note="out of memory", at_most=0.5)
    assert (failed.met, failed.beyond, failed.verdict) == (False, False, "not measured")


def test_a_bar_that_nothing_could_meet_is_told_apart() -> None:
    bars = [
        Bar("", "", (1.4, 1.4, 1.4), 1.5, at_least=True, at_most=1.49),
        Bar("", "", (1.4, 1.4, 1.4), 1.5, at_least=True, at_most=1.5),
        Bar("", "", (1.6, 1.6, 1.6), 1.5, at_least=True, at_most=1.4),
    ]
    assert [bar.verdict for bar in bars] == ["no, beyond the machine", "no", "yes"]
    (table,) = Result("speed", "", "", [], bars).all_tables()
    assert table.title == "1 of 3 bars are met; 1 of the others are beyond this machine."
    assert [row[6] for row in table.rows] == [1.49, 1.5, 1.4]
    (table,) = Result("speed", "", "", [], bars[1:]).all_tables()
    assert table.title == "1 of 2 bars are met."


def test_tables_are_shown_rounded_and_written_in_full(tmp_path: Path) -> None:
    cells = (None, "naive", 7, 0.01234567, 1.234, 12.34, 1234.5, 0.00001234)
    assert list(map(shown, cells)) == ["–", "naive", "7", "0.0123", "1.23", "12.3", "1,234", "0.000012"]
    table = Table("small", "A table.", ("form", "time, s"), [("a|b", 0.01234567), ("none", None)])
    assert in_markdown(table) == [
        "A table.", "", "| form | time, s |", "| --- | ---: |", "| a\\|b | 0.0123 |", "| none | – |",
    ]  # fmt: skip
    written = write_csv(table, tmp_path / "new").read_text(encoding="utf-8")
    assert written == 'form,"time, s"\na|b,0.0123457\nnone,\n'


def result(suite: str, text: str) -> Result:
    bar = Bar("case", "promise", (1.0, 1.0, 1.0), 2.0)
    return Result(suite, f"The {suite}", text, [Table(suite, "Numbers.", ("a",), [(1,)])], [bar])


def test_a_section_of_the_page_is_replaced_and_the_others_stay() -> None:
    page = benchmark.with_section("", result("input", "Old images."), "Here.")
    page = benchmark.with_section(page, result("speed", "Fast."), "There.")
    page = benchmark.with_section(page, result("input", "New images."), "Elsewhere.")
    assert page.count("# Performance\n") == page.count("## The input") == page.count("## The speed") == 1
    assert page.index("## The speed") < page.index("There.") < page.index("Fast.") < page.index("## The input")
    assert "Elsewhere.\n\nNew images.\n\n1 of 1 bars are met.\n\n| case |" in page
    assert "Old images." not in page
    assert "Here." not in page
    assert benchmark.with_section(page, result("speed", "Fast."), "There.") == page


def test_ratios_are_against_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naive takes 3 times as long as plain with 4 times the multiply-adds; the published scheme twice as long.

    The peak is 20 multiply-adds a second in float32 and 100 else: 5-D's 6 seconds are 3 and 15 times the 2 and 0.4
    that naive's 40 would take there.
    """
    times = {"plain": 1.0, "naive": 3.0, "lattice": 3.3, "5-D": 6.0, "5-D, literal": 7.5}
    peak: Any = {"float32": 20.0, "recommended": 100.0, "compiled": 100.0}
    monkeypatch.setattr(speed, "peaks", lambda options: (peak, Table("speed_peak", "", ("a",), [])))

    def measured(network: str, entries: list[Entry], options: Options) -> dict[Entry, networks.Measured]:
        return {
            entry: networks.Measured(
                Timing((times[entry.form] / (2 if entry.task.recommended else 1),) * 3),
                100,
                10 if entry.form == "plain" else 40,
            )
            for entry in entries
        }

    monkeypatch.setattr(speed, "measure", measured)
    result = speed.run(Options(networks=["squeezenet1_1"], say=lambda text: None))
    found = [
        (bar.case.rpartition(", ")[2], round(bar.value[0], 3), bar.at_most, bar.verdict)
        for bar in result.bars
        if bar.value
    ]
    assert found == [
        ("float32", 0.75, None, "yes"),
        ("float32", 2.0, 3.0, "yes"),
        ("float32", 2.5, 3.75, "yes"),
        ("float32", 1.1, None, "no"),
        ("recommended", 0.75, None, "yes"),
        ("recommended", 4.0, 15.0, "yes"),
        ("recommended", 5.0, 18.75, "yes"),
        ("recommended", 1.1, None, "no"),
    ]
    # Of 40 multiply-adds in 3 seconds, where 60 were possible.
    shares = {(row[2], row[3]): row[10] for row in result.tables[1].rows}
    assert shares["float32", "naive"] == pytest.approx(100 * 40 / 60)
    assert shares["recommended", "naive"] == pytest.approx(100 * 40 / 150)


def test_a_network_that_is_faster_than_the_convolutions_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(network: str, entries: list[Entry], options: Options) -> dict[Entry, networks.Measured]:
        return {
            entry: networks.Measured(Timing((3.0, 2.0, 4.0) if entry.form == "naive" else (9.0,) * 3), 100, 90)
            for entry in entries
        }

    peak: Any = dict.fromkeys(("float32", "recommended", "compiled"), 20.0)
    monkeypatch.setattr(speed, "peaks", lambda options: (peak, Table("speed_peak", "", ("a",), [])))
    monkeypatch.setattr(speed, "measure", measured)
    result = speed.run(Options(networks=["squeezenet1_1"], say=lambda text: None))
    shares = {row[3]: row[10] for row in result.tables[1].rows}
    # 45 a second in naive's fastest round, 30 in the median.
    assert shares["naive"] == pytest.approx(100 * 30 / 45)
    assert shares["plain"] == pytest.approx(100 * 10 / 45)
    at_most = [bar.at_most for bar in result.bars if bar.promise.startswith("5-D in")]
    assert at_most == pytest.approx([9 * 45 / 90] * 2)


def test_the_peak_is_that_of_the_faster_memory_format() -> None:
    peak, table = roofline.peaks(TINY)
    work = 2 * ccnn.multiply_adds(nn.Conv2d(16, 16, 3, padding=1), (16, 8, 8))
    rates: dict[Any, list[float]] = {"float32": [], "recommended": []}
    for settings, _, _, _, milliseconds, _, _, rate in table.rows:
        assert rate * 1e9 * milliseconds / 1e3 == pytest.approx(work)  # type: ignore[operator]
        rates[settings].append(rate * 1e9)  # type: ignore[operator]
    assert {settings: len(found) for settings, found in rates.items()} == {"float32": 2, "recommended": 2}
    best = {settings: max(found) for settings, found in rates.items()}
    assert peak == pytest.approx(best | {"compiled": best["recommended"]})


def test_compiling_is_told_with_the_steps_after_which_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(network: str, entries: list[Entry], options: Options) -> dict[Entry, networks.Measured]:
        found = {}
        for entry in entries:
            compiled = entry.task.settings == "compiled"
            faster = compiled and not entry.task.training
            timing = Timing((0.8 if faster else 1.0,) * 3)
            found[entry] = networks.Measured(timing, 100, 10, 30.0 if compiled else None)
        return found

    peak: Any = dict.fromkeys(("float32", "recommended", "compiled"), 20.0)
    monkeypatch.setattr(speed, "peaks", lambda options: (peak, Table("speed_peak", "", ("a",), [])))
    monkeypatch.setattr(speed, "measure", measured)
    monkeypatch.setattr(speed, "_memory_bars", lambda network, batch: [])
    result = speed.run(Options(networks=["vgg11_bn"], say=lambda text: None))
    tables = result.tables
    # The bars against the published scheme take the compiled network where it pays.
    published = [bar for bar in result.bars if "recommended" in bar.case and bar.promise.startswith("5-D")]
    taken = [
        (bar.case.split(", ")[1], round(bar.value[0], 3), "compiled" in bar.note) for bar in published if bar.value
    ]
    assert taken == [("training", 1.0, False)] * 2 + [("inference", 1.25, True)] * 2
    training, inference = ([*row[4:5], *row[7:]] for row in tables[2].rows)
    assert training == [1.0, 30.0, None, "does not pay"]
    assert inference == [1.25, 30.0, 150, ""]
    assert "1 of 2 naive CCNNs are faster" in tables[2].title
    assert [row[-1] for row in tables[1].rows if row[2] == "compiled"] == ["compiled in 30 s"] * 2


def test_without_a_compiler_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise RuntimeError("nothing found")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    entries = [Entry("plain", Task(2, (3, 32, 32), settings=settings)) for settings in ("recommended", "compiled")]
    eager, compiled = measure("vgg11_bn", entries, TINY).values()
    assert len(eager.timing.seconds) == 1
    assert compiled.timing.problem == "RuntimeError: torch.compile needs a C++ compiler, and finds none here"


def test_a_form_that_fails_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(model: nn.Module, size: Any) -> nn.Module:
        raise ccnn.ConversionError("convert: nothing to convert\nmore")

    monkeypatch.setitem(networks.FORMS, "lattice", unable)
    task = Task(2, (3, 32, 32))
    found = measure("densenet_bc40", [Entry(form, task) for form in ("plain", "lattice")], TINY)
    failed, plain = found[Entry("lattice", task)], found[Entry("plain", task)]
    assert failed.timing.problem == "ConversionError: convert: nothing to convert"
    assert (failed.memory, failed.multiply_adds) == (None, None)
    assert len(plain.timing.seconds) == 1
    assert plain.multiply_adds == 2 * ccnn.multiply_adds(build("densenet_bc40"), (3, 32, 32))


def test_what_does_not_run_still_has_its_memory_and_arithmetic() -> None:
    options = Options(limits=Limits(1, 5.0, 60.0, memory=1000), quick=True, networks=["squeezenet1_1"],
                      say=lambda text: None)  # fmt: skip
    table = table3.run(options).tables[0]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert len(rows) == 8
    for row in rows:
        assert str(row["note"]).startswith("not run: needs")
        assert row["time, s"] is None
        assert isinstance(row["memory, MB"], float)
        assert isinstance(row["multiply-adds, G"], float)
    dilated = next(row for row in rows if row["form"] == "dilated")
    assert dilated["× original "] > 50  # type: ignore[operator]
    assert (dilated["paper: s"], dilated["paper: GB"]) == (0.15, 3.2)


@pytest.mark.slow
def test_quick_measures_everything_and_writes_it(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--repeats", "1", "--output", str(tmp_path)]
    chosen = ["--networks", "vgg11_bn", "squeezenet1_1", "toy"]
    root = {"cwd": SCRIPT.parents[1], "capture_output": True, "text": True, "check": True}
    done = subprocess.run([*command, *chosen], **root)  # type: ignore[call-overload]
    assert "bars are met." in done.stdout
    names = {path.stem for path in (tmp_path / "performance").glob("*.csv")}
    assert names == {
        "speed",
        "speed_bars",
        "speed_peak",
        "speed_compile",
        "layers",
        "layers_bars",
        "methods",
        "profile",
        "table3",
        "input",
        "input_bars",
    }
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert [page.count(f"<!-- {suite} -->") for suite in SUITES] == [1] * 6
    assert "Tiny sizes" in page
    with (tmp_path / "performance" / "speed_bars.csv").open(encoding="utf-8") as file:
        bars = list(csv.DictReader(file))
    # VGG trains and infers in two settings, four bars each, and has eight bars of memory; SqueezeNet infers.
    assert len(bars) == 8 + 8 + 8 + 8
    assert all(float(bar["measured"]) > 0 and bar["met"].split(",")[0] in ("yes", "no") for bar in bars)
    for bar in bars:
        published = "5-D" in bar["ratio of"]
        assert bool(bar["at most"]) == (published and bar["ratio of"].endswith("time"))
        note = bar["note"].removeprefix("compiled, ")
        assert note == (speed.SAME_WORK if published and bar["case"].startswith("vgg11_bn") else "")
    with (tmp_path / "performance" / "table3.csv").open(encoding="utf-8") as file:
        forms = {(row["task"], row["form"]): row for row in csv.DictReader(file)}
    assert len(forms) == 8
    assert all(float(row["time, s"]) > 0 for row in forms.values())


def test_the_profile_counts_each_convolution() -> None:
    (table,) = profile.run(Options(quick=True, networks=["resnet18"], say=lambda text: None)).tables
    rows = {(row[1], row[2]): row for row in table.rows}
    # The network has 20 convolutions; the three strided ones of 3×3 run once per position.
    for part in ("forward", "backward"):
        assert rows["plain", f"convolution, {part}"][5] == 20
        assert rows["naive", f"convolution, {part}"][5] == 23
    # 20 norms and 17 ReLUs, forward and backward.
    assert rows["plain", "batch norm"][5] == 40
    assert rows["plain", "ReLU"][5] == 34
    # Each of the three levels joins the two positions of a 3×3 convolution and those of a 1×1.
    moved = [rows[form, "copies and padding"][5] for form in ("plain", "naive")]
    assert moved[1] >= moved[0] + 6  # type: ignore[operator]
    for form in ("plain", "naive", "lattice"):
        assert sum(row[4] for row in table.rows if row[1] == form) == pytest.approx(100)  # type: ignore[misc]
