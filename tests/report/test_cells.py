"""Every run is in the right cell, and each cell's numbers are right."""

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from experiments import Compose
from omegaconf import OmegaConf
from report_runs import arranged, lines, write_run

from ccnn.config import CONF
from ccnn.errors import UserError
from ccnn.report.cells import numbers, spreadsheet, summarise
from ccnn.report.group import arrange
from ccnn.report.paper import NAMES
from ccnn.report.records import read_runs

MNIST: dict[str, Any] = {"data": "mnist", "epochs": 100, "train_images": 60_000, "batch_size": 16}


def one(cells: pd.DataFrame, network: str, row: str = "ResNet-18") -> pd.Series:
    """The only cell of a row's network."""
    [[_, cell]] = cells[(cells["network"] == network) & (cells["row"] == row)].iterrows()
    return cell


def test_the_committed_results_follow_from_their_runs() -> None:
    """The reference was computed by the implementation before pandas, which shares no code with this one."""
    results = CONF.parent / "docs" / "results"
    grid = arrange(read_runs([results / "runs.csv"])[0])
    written = StringIO(spreadsheet(numbers(grid), grid.blocks).to_csv(index=False))
    expected = pd.read_csv(results / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(written), expected, check_dtype=False)


@pytest.mark.parametrize(
    ("values", "mean", "std", "half"),
    [
        ([3.0], 3.0, None, None),  # one value has no spread
        ([3.0, 5.0], 4.0, 2**0.5, None),  # two have no interval
        ([1.0, 2.0, 3.0], 2.0, 1.0, 4.302653 / 3**0.5),  # quantiles as printed in tables
        ([1.0, 1.0, 3.0, 3.0], 2.0, (4 / 3) ** 0.5, 3.182446 * (4 / 3) ** 0.5 / 2),
        ([0.0] * 5 + [2.0] * 5, 1.0, (10 / 9) ** 0.5, 2.262157 * (10 / 9) ** 0.5 / 10**0.5),
    ],
)
def test_mean_spread_and_interval(values: list[float], mean: float, std: float | None, half: float | None) -> None:
    frame = pd.DataFrame({"group": 0, "value": values})
    found = summarise(frame.groupby("group")["value"], "x").iloc[0].tolist()
    bounds = [None, None] if half is None else [mean - half, mean + half]
    expected = [float("nan") if value is None else value for value in (mean, std, len(values), *bounds)]
    assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_a_cell_is_the_mean_over_seeds_and_its_gain_is_paired(tmp_path: Path) -> None:
    for seed, error in enumerate((5.0, 6.0, 7.0)):
        write_run(tmp_path / f"cnn{seed}", error, seed=seed, seconds=100 * (seed + 1))
        write_run(tmp_path / f"ccnn{seed}", error - 0.5, seed=seed, convert=True, seconds=500)
    write_run(tmp_path / "alone", 0.0, seed=9, convert=True, seconds=500)  # has no partner
    cells = lines(tmp_path)
    cnn, ccnn = one(cells, "CNN"), one(cells, "CCNN naive")
    assert list(cnn[["test_error", "test_error_std", "test_error_n"]]) == [6.0, 1.0, 3]
    assert (cnn["published"], cnn["difference"]) == pytest.approx((5.49, 0.51))
    assert pd.isna(cnn["gain"])
    assert list(ccnn[["gain", "gain_std", "gain_n"]]) == pytest.approx([0.5, 0.0, 3])
    assert ccnn["test_error"] == pytest.approx((4.5 + 5.5 + 6.5 + 0.0) / 4)
    ratios = ["published_gain", "multiply_adds_ratio", "training_compute_ratio", "training_time_ratio"]
    assert list(ccnn[ratios]) == pytest.approx([0.59, 3, 3, 2.5])
    assert ccnn["unlike"] == ()


def test_without_common_seeds_the_gain_is_unpaired(tmp_path: Path) -> None:
    for seed, error, convert in ((0, 10.0, False), (1, 12.0, False), (2, 9.0, True)):
        write_run(tmp_path / str(seed), error, seed=seed, convert=convert)
    assert list(one(lines(tmp_path), "CCNN naive")[["gain", "gain_n"]]) == [2.0, 0]


def test_samplings_are_networks_of_their_own_without_published_values(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0)
    write_run(tmp_path / "b", 5.0, convert=True, sampling="lattice")
    write_run(tmp_path / "c", 5.5, convert=True, sampling="lattice", skip_first=1)
    write_run(tmp_path / "d", 5.2, convert=True)
    cells = lines(tmp_path)
    assert list(cells["network"]) == ["CNN", "CCNN naive", "CCNN lattice", "CCNN lattice skip_first=1"]
    assert list(cells["test_error"]) == [6.0, 5.2, 5.0, 5.5]
    assert list(cells["published"].fillna(0)) == [5.49, 4.90, 0, 0]


@pytest.mark.parametrize(
    "other",
    [{"protocol": "honest"}, {"epochs": 30}, {"train_images": 45_000}, {"batch_size": 128}, {"data": "cifar100"},
     {"augment": "none"}],
)  # fmt: skip
def test_runs_under_other_conditions_are_in_another_table(other: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0)
    write_run(tmp_path / "b", 5.0, convert=True, seed=1, **other)
    cells = lines(tmp_path)
    assert list(cells["block"]) == [0, 1]
    assert cells["gain"].isna().all()


def test_runs_that_stopped_early_are_in_the_table_of_their_configured_epochs(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0)
    write_run(tmp_path / "b", 5.0, seed=1, trained_epochs=100)
    [[_, cell]] = lines(tmp_path).iterrows()
    assert cell["test_error_n"] == 2
    assert cell["training_compute"] == 1e9 * 50_000 * (300 + 100) / 2


def test_other_settings_are_another_row_unless_they_cannot_change_the_result(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", 6.0, seed=seed, settings={"data.root": f"/{seed}"})
        write_run(tmp_path / f"b{seed}", 7.0, seed=seed, lr=0.5, settings={"trainer.accelerator": str(seed)})
    write_run(tmp_path / "other model", 4.0, lr=0.5, model="resnet50")
    cells = lines(tmp_path)
    assert list(cells["row"]) == ["ResNet-18 optimizer.lr=0.1", "ResNet-18 optimizer.lr=0.5", "ResNet-50"]
    assert list(cells["test_error"]) == [6.0, 7.0, 4.0]
    assert list(cells["test_error_n"]) == [2, 2, 1]


def test_a_module_that_moved_between_versions_is_no_other_setting(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0)
    write_run(tmp_path / "b", 7.0, seed=1, settings={"scheduler._target_": "ccnn.schedulers.multistep"})
    [[_, cell]] = lines(tmp_path).iterrows()
    assert (cell["test_error_n"], cell["unlike"]) == (2, ())


@pytest.mark.parametrize(
    ("changed", "model"),
    [
        ({"target": "ccnn.models.torchvision_model"}, "resnet18 (torchvision)"),
        ({"target": "my.networks.build"}, "resnet18 (my)"),
        ({"settings": {"model.channels": [8, 8, 8, 8]}}, "resnet18 model.channels=[8,8,8,8]"),
        ({"settings": {"model.depth": 20, "model.expansion": 4}}, "resnet18 model.depth=20"),
        ({"target": "ccnn.models.VGG"}, "resnet18 model._target_=ccnn.models.VGG"),
    ],
)
def test_another_network_of_the_same_name_is_not_the_papers(
    changed: dict[str, Any], model: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "a", 6.0, **changed)
    [[_, cell]] = lines(tmp_path).iterrows()
    assert (cell["model"], cell["published"]) == (model, pytest.approx(float("nan"), nan_ok=True))


def test_the_papers_networks_have_their_names(compose: Compose, tmp_path: Path) -> None:
    models = ["densenet_bc121", "resnet50_tiny", "toy", "vgg11_bn", "wide_resnet28_10_2x3x3"]
    for model in models:
        config: Any = OmegaConf.to_container(compose(f"model={model}", "data=cifar100").model, resolve=True)
        write_run(tmp_path / model, 6.0, model=model, settings={"model": config | {"checkpointing": True}})
    assert sorted(lines(tmp_path)["model"]) == sorted(models)


@pytest.mark.parametrize("unstated", ["protocol", "part of the test set"])
def test_no_published_value_beside_a_run_that_cannot_be_compared(unstated: str, tmp_path: Path) -> None:
    if unstated == "protocol":
        (write_run(tmp_path / "a", 6.0, protocol=None) / "config.yaml").unlink()
    else:
        write_run(tmp_path / "a", 6.0, settings={"trainer.limit_test_batches": 4})
    [[_, cell]] = lines(tmp_path).iterrows()
    assert cell[["published", "difference"]].isna().all()
    assert (cell["part_tested"] == 4) == (unstated != "protocol")


def test_a_model_without_cnn_is_compared_with_its_baseline(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.30, model="toy", multiply_adds=100, **MNIST)
    write_run(tmp_path / "b", 0.26, model="toy_2x3x3", convert=True, multiply_adds=150, **MNIST)
    cell = one(lines(tmp_path), "CCNN naive", NAMES["toy_2x3x3"])
    assert list(cell[["gain", "multiply_adds_ratio"]]) == pytest.approx([0.04, 4.5])
    assert list(cell[["published", "published_std", "published_gain"]]) == [0.25, 0.02, 0.05]


def test_of_one_seed_the_newest_finished_run_counts(tmp_path: Path) -> None:
    write_run(tmp_path / "new", 5.0, date="2026-03-01T00:00:00+00:00")
    write_run(tmp_path / "old", 9.0, date="2026-02-28T23:00:00+00:00")
    write_run(tmp_path / "oldest", 8.0, date="2026-03-01T00:30:00+02:00")  # an hour and a half older, by its zone
    write_run(tmp_path / "failed", state="failed", date="2026-04-01T00:00:00+00:00")
    grid = arranged(tmp_path)
    assert list(numbers(grid)["test_error"]) == [5.0]
    assert grid.notes == [[f"ResNet-18, CNN, seed 0: 4 runs, the newest finished one counts, {tmp_path / 'new'}."]]


def test_unfinished_runs_join_the_table_of_runs_like_them(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0)
    write_run(tmp_path / "b", state="failed", seed=1)  # does not know its number of training images
    write_run(tmp_path / "c", state="finished", seed=2)  # says so, but has no result
    [[_, cell]] = lines(tmp_path).iterrows()
    assert list(cell[["finished", "failed", "running", "interrupted", "unfinished"]]) == [1, 1, 0, 0, 1]


class TestEqualCompute:
    """A CCNN of write_run costs three times what its CNN costs."""

    def write(self, folder: Path, longer: int) -> None:
        for seed in range(3):
            write_run(folder / f"cnn{seed}", 8.0 + seed, seed=seed, data="digits")
            write_run(folder / f"longer{seed}", 6.0 + seed, seed=seed, data="digits", epochs=longer)
            write_run(folder / f"ccnn{seed}", 5.5 + seed, seed=seed, data="digits", convert=True)

    @pytest.mark.parametrize("longer", [870, 930])
    def test_a_cnn_trained_for_longer_stands_beside_the_ccnn(self, longer: int, tmp_path: Path) -> None:
        self.write(tmp_path, longer)
        cells = lines(tmp_path)
        assert list(cells["network"]) == ["CNN", f"CNN, {longer} epochs", "CCNN naive"]
        assert list(cells["gain"])[1:] == [2.0, 2.5]
        assert list(cells["equal"].fillna("")) == ["", "", f"CNN, {longer} epochs"]
        ccnn = cells.iloc[2]
        assert list(ccnn[[f"equal_compute_gain{part}" for part in ("", "_low", "_high")]]) == [0.5] * 3
        assert list(cells["training_compute_ratio"])[1:] == pytest.approx([longer / 300, 3])

    @pytest.mark.parametrize("longer", [600, 960])
    def test_one_of_another_compute_stays_in_a_table_of_its_own(self, longer: int, tmp_path: Path) -> None:
        self.write(tmp_path, longer)
        assert sorted(lines(tmp_path)["block"]) == [0, 0, 1]

    def test_it_stays_where_ccnns_have_as_many_epochs(self, tmp_path: Path) -> None:
        self.write(tmp_path, 900)
        write_run(tmp_path / "other", 5.0, data="digits", convert=True, epochs=900)
        assert list(lines(tmp_path)["network"]) == ["CNN", "CCNN naive"] * 2

    def test_stochastic_trains_at_the_cost_of_the_cnn(self, tmp_path: Path) -> None:
        self.write(tmp_path, 900)
        write_run(tmp_path / "stochastic", 7.0, data="digits", convert=True, sampling="stochastic")
        cell = one(lines(tmp_path), "CCNN stochastic")
        assert list(cell[["equal", "training_compute_ratio", "multiply_adds_ratio"]]) == ["CNN", 1, 3]
        assert cell["equal_compute_gain"] == pytest.approx(1.0)

    def test_a_model_that_exists_only_converted_is_compared_with_its_baseline(self, tmp_path: Path) -> None:
        for seed in range(3):
            shared: dict[str, Any] = {"seed": seed, "data": "digits"}
            write_run(tmp_path / f"cnn{seed}", 5.0, model="toy", **shared)
            write_run(tmp_path / f"longer{seed}", 5.0, model="toy", epochs=900, **shared)
            write_run(tmp_path / f"2x3x3{seed}", 4.0, model="toy_2x3x3", convert=True, **shared)
        cell = one(lines(tmp_path), "CCNN naive", NAMES["toy_2x3x3"])
        assert list(cell[["equal", "equal_compute_gain"]]) == ["CNN, 900 epochs", 1.0]


def test_a_table_of_other_runs_alone_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 6.0, data="digits")
    write_run(tmp_path / "b", 6.0, model="resnet34")
    message = r"none of the 2 runs .*there are resnet18 on digits, resnet34 on cifar10\. Leave --table out"
    with pytest.raises(UserError, match=message):
        arranged(tmp_path, "table1")
