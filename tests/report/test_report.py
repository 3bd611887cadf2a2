"""The report puts every run into the right cell and computes each cell's numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from experiments import Compose
from omegaconf import OmegaConf
from report_runs import write_run

from ccnn.errors import UserError
from ccnn.report.cells import Result, results
from ccnn.report.folders import gather
from ccnn.report.group import Block, arrange
from ccnn.report.paper import IMAGENET, INFERENCE, NAMES, TABLES, Column, published
from ccnn.report.runs import Run
from ccnn.report.statistics import gain, summarise
from ccnn.report.tables import sheet


def read(folder: Path) -> list[Run]:
    """The runs below a folder, none of which is damaged."""
    runs, problems = gather([folder])
    assert problems == []
    return runs


def lines(folder: Path, table: str | None = None) -> list[Result]:
    """All lines of the report."""
    blocks, _ = arrange(read(folder), TABLES[table] if table else None)
    return [line for block in blocks for line in results(block)]


def one(found: Sequence[Result], network: str | None, model: str = "resnet18") -> Result:
    """The only line of a model's network."""
    [line] = [line for line in found if line.network == network and line.row.model == model]
    return line


def texts(blocks: Sequence[Block]) -> str:
    """All that the sheets say, for looking up a phrase."""
    return "\n".join(str(sheet(block)) for block in blocks)


class TestStatistics:
    def test_mean_and_sample_standard_deviation(self) -> None:
        summary = summarise([2.0, 4.0, 9.0])  # mean 5; squares 9 + 1 + 16 = 26, over n − 1 = 2
        assert summary.mean == pytest.approx(5)
        assert summary.std == pytest.approx(13**0.5)
        assert summary.n == 3

    @pytest.mark.parametrize(
        ("values", "half"),
        [
            ([1.0, 2.0, 3.0], 4.302653 / 3**0.5),  # standard deviation 1; quantiles as printed in tables
            ([1.0, 1.0, 3.0, 3.0], 3.182446 * (4 / 3) ** 0.5 / 2),
            ([0.0] * 5 + [2.0] * 5, 2.262157 * (10 / 9) ** 0.5 / 10**0.5),
        ],
    )
    def test_confidence_interval(self, values: list[float], half: float) -> None:
        summary = summarise(values)
        assert summary.interval == pytest.approx((summary.mean - half, summary.mean + half), rel=1e-5)

    def test_one_value_has_no_spread_and_two_have_no_interval(self) -> None:
        assert summarise([3.0]).std is None
        assert summarise([3.0]).interval is None
        assert summarise([3.0, 5.0]).std == pytest.approx(2**0.5)
        assert summarise([3.0, 5.0]).interval is None

    def test_gain_is_paired_by_seed(self) -> None:
        found = gain({0: 10.0, 1: 20.0, 2: 30.0, 3: 99.0}, {2: 27.0, 1: 18.0, 0: 9.0, 7: 0.0})  # 1, 2 and 3
        assert found.summary is not None
        assert (found.summary.mean, found.summary.std, found.summary.n) == pytest.approx((2.0, 1.0, 3))
        assert found.difference == pytest.approx(2.0)

    def test_without_common_seeds_the_gain_is_unpaired(self) -> None:
        found = gain({0: 10.0, 1: 12.0}, {2: 9.0})
        assert found.summary is None
        assert found.difference == pytest.approx(2.0)


class TestPublished:
    """Values copied by hand from the paper's tables."""

    @pytest.mark.parametrize(
        ("model", "data", "augment", "expected"),
        [
            ("densenet_bc40", "cifar10", "none", (9.13, 7.77)),
            ("densenet_bc121", "cifar10", "standard", (4.19, 3.95)),
            ("resnet18", "cifar10", "none", (12.81, 9.90)),
            ("resnet50", "cifar100", "standard", (24.75, 22.21)),
            ("vgg11_bn", "cifar10", "standard", (8.23, 7.47)),
            ("wide_resnet28_10", "cifar100", "standard", (18.89, 18.74)),
            ("wide_resnet28_10_2x3x3", "cifar10", "standard", (None, 3.51)),
            ("resnet18_tiny", "cifar100", "standard", (26.74, 25.68)),
            ("resnet50_tiny", "cifar100", "standard", (26.12, 24.17)),
            ("toy", "mnist", "none", (0.44, 0.39)),
            ("toy", "mnist", "shift", (0.42, 0.38)),
            ("toy_2x3x3", "mnist", "standard", (None, 0.25)),
        ],
    )
    def test_trained(self, model: str, data: str, augment: str, expected: tuple[float | None, float]) -> None:
        assert published(model, Column(data, augment)) == expected

    @pytest.mark.parametrize(
        ("table", "sums"),
        [("table1", (100.52, 68.84, 292.30)), ("table7", (200.32,)), ("table8", (1.22, 1.15, 0.83))],
    )
    def test_columns_add_up(self, table: str, sums: tuple[float, ...]) -> None:
        columns = zip(*TABLES[table].errors.values(), strict=True)
        assert [sum(error or 0 for pair in column for error in pair or ()) for column in columns] == (
            pytest.approx(sums)
        )

    def test_there_is_nothing_where_the_paper_has_nothing(self) -> None:
        assert published("wide_resnet28_10", Column("cifar10", "none")) is None
        assert published("resnet18", Column("cifar10", "shift")) is None
        assert published("resnet18", Column("fashion_mnist", "standard")) is None
        assert published("resnet34", Column("cifar10", "standard")) is None

    def test_tables_agree_with_each_other_and_have_names(self) -> None:
        for table in TABLES.values():
            for model, errors in table.errors.items():
                assert model in NAMES
                assert errors == tuple(published(model, column) for column in table.columns)

    def test_pretrained(self) -> None:
        assert len(IMAGENET) == 14
        assert [sum(errors) for errors in zip(*IMAGENET.values(), strict=True)] == pytest.approx([406.55, 406.61])
        assert IMAGENET["densenet169"] == (24.40, 24.00)
        assert IMAGENET["vgg19"] == (27.62, 28.18)
        for model, costs in INFERENCE.items():  # Table 3 repeats errors of Table 2
            assert costs["original"].error == IMAGENET[model].cnn
            assert costs["checkered"].error == IMAGENET[model].ccnn
        assert INFERENCE["resnet152"]["dilated"] == (3.60, 10.1, 21.60)


class TestEqualCompute:
    """A CCNN of write_run costs three times what its CNN costs."""

    def write(self, folder: Path, longer: int) -> None:
        for seed in range(3):
            write_run(folder / f"cnn{seed}", 8.0 + seed, seed=seed, data="digits")
            write_run(folder / f"longer{seed}", 6.0 + seed, seed=seed, data="digits", epochs=longer)
            write_run(folder / f"ccnn{seed}", 5.5 + seed, seed=seed, data="digits", convert=True)

    @pytest.mark.parametrize("longer", [870, 900, 930])
    def test_a_cnn_trained_for_longer_stands_beside_the_ccnn(self, longer: int, tmp_path: Path) -> None:
        self.write(tmp_path, longer)
        found = lines(tmp_path)
        assert [line.network for line in found] == [None, longer, "naive"]
        cnn, more, ccnn = found
        assert (more.gain and more.gain.difference, ccnn.gain and ccnn.gain.difference) == (2.0, 2.5)
        assert cnn.equal_gain is more.equal_gain is None
        assert ccnn.equal == longer
        assert ccnn.equal_gain is not None
        assert ccnn.equal_gain.summary is not None
        assert ccnn.equal_gain.summary.interval == pytest.approx((0.5, 0.5))
        assert (more.compute_ratio, ccnn.compute_ratio) == pytest.approx((longer / 300, 3))
        assert more.multiply_adds_ratio == 1
        [block] = arrange(read(tmp_path))[0]
        text = str(sheet(block))
        assert f"within 5 %: CCNN naive with CNN, {longer} epochs." in text
        assert "+0.50 ± 0.00 (3)\\n[+0.50 … +0.50]" in text
        assert "paper" not in sheet(block).header

    @pytest.mark.parametrize("longer", [600, 960])
    def test_one_of_another_compute_stays_in_a_table_of_its_own(self, longer: int, tmp_path: Path) -> None:
        self.write(tmp_path, longer)
        blocks, _ = arrange(read(tmp_path))
        assert sorted(len(list(results(block))) for block in blocks) == [1, 2]

    def test_it_stays_where_ccnns_have_as_many_epochs(self, tmp_path: Path) -> None:
        self.write(tmp_path, 900)
        write_run(tmp_path / "other", 5.0, data="digits", convert=True, epochs=900)
        blocks, _ = arrange(read(tmp_path))
        assert [[line.network for line in results(block)] for block in blocks] == [[None, "naive"]] * 2

    def test_stochastic_trains_at_the_cost_of_the_cnn(self, tmp_path: Path) -> None:
        self.write(tmp_path, 900)
        write_run(tmp_path / "stochastic", 7.0, data="digits", convert=True, sampling="stochastic")
        line = one(lines(tmp_path), "stochastic")
        assert (line.equal, line.compute_ratio, line.multiply_adds_ratio) == (None, 1, 3)
        assert line.equal_gain is not None
        assert line.equal_gain.difference == pytest.approx(1.0)

    def test_a_model_that_exists_only_converted_is_compared_with_its_baseline(self, tmp_path: Path) -> None:
        for seed in range(3):
            write_run(tmp_path / f"cnn{seed}", 5.0, seed=seed, model="toy", data="digits")
            write_run(tmp_path / f"longer{seed}", 5.0, seed=seed, model="toy", data="digits", epochs=900)
            write_run(tmp_path / f"naive{seed}", 5.0, seed=seed, model="toy", data="digits", convert=True)
            write_run(tmp_path / f"2x3x3{seed}", 4.0, seed=seed, model="toy_2x3x3", data="digits", convert=True)
        found = lines(tmp_path)
        assert [line.network for line in found if line.row.model == "toy_2x3x3"] == ["naive"]
        line = one(found, "naive", "toy_2x3x3")
        assert line.equal == 900
        assert line.equal_gain is not None
        assert line.equal_gain.difference == pytest.approx(1.0)


class TestCells:
    def test_a_cell_is_the_mean_over_seeds(self, tmp_path: Path) -> None:
        for seed, error in enumerate((5.0, 6.0, 7.0)):
            write_run(tmp_path / f"cnn{seed}", error, seed=seed, seconds=100 * (seed + 1))
            write_run(tmp_path / f"ccnn{seed}", error - 0.5, seed=seed, convert=True, seconds=500)
        found = lines(tmp_path)
        cnn, ccnn = one(found, None), one(found, "naive")
        assert cnn.error is not None
        assert (cnn.error.mean, cnn.error.std, cnn.error.n) == pytest.approx((6.0, 1.0, 3))
        assert cnn.published == 5.49
        assert cnn.difference == pytest.approx(0.51)
        assert cnn.gain is None
        assert ccnn.gain is not None
        assert ccnn.gain.summary is not None
        assert ccnn.gain.summary.mean == pytest.approx(0.5)
        assert ccnn.gain.summary.std == pytest.approx(0.0)  # paired: the seeds' own differences cancel
        assert ccnn.published_gain == pytest.approx(0.59)
        assert ccnn.multiply_adds_ratio == pytest.approx(3)
        assert ccnn.time_ratio == pytest.approx(2.5)
        assert ccnn.unlike == ()

    def test_samplings_are_networks_of_their_own_without_published_values(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        write_run(tmp_path / "b", 5.0, convert=True, sampling="lattice")
        write_run(tmp_path / "c", 5.5, convert=True, sampling="lattice", skip_first=1)
        write_run(tmp_path / "d", 5.2, convert=True)
        found = lines(tmp_path)
        assert [line.network for line in found] == [None, "naive", "lattice", "lattice skip_first=1"]
        assert [line.published for line in found] == [5.49, 4.90, None, None]
        assert [line.error and line.error.mean for line in found] == [6.0, 5.2, 5.0, 5.5]

    @pytest.mark.parametrize(
        "other",
        [
            {"protocol": "honest"},
            {"epochs": 30},
            {"train_images": 45_000},
            {"batch_size": 128},
            {"data": "cifar100"},
            {"augment": "none"},
        ],
    )
    def test_runs_under_other_conditions_are_in_another_block(self, other: dict, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        write_run(tmp_path / "b", 5.0, convert=True, seed=1, **other)
        blocks, _ = arrange(read(tmp_path))
        assert len(blocks) == 2
        assert len({sheet(block).title for block in blocks}) == 2
        counts = [(line.error.n if line.error else 0, line.gain) for block in blocks for line in results(block)]
        assert sorted(counts) == [(1, None), (1, None)]

    def test_other_settings_are_another_row_with_a_label(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            write_run(tmp_path / f"a{seed}", 6.0, seed=seed)
            write_run(tmp_path / f"b{seed}", 7.0, seed=seed, lr=0.5)
        write_run(tmp_path / "other model", 4.0, lr=0.5, model="resnet50")
        blocks, _ = arrange(read(tmp_path))
        [block] = blocks
        names = [group.name for group in sheet(block).groups]
        assert [name.partition(" (")[0] for name in names] == [
            "ResNet-18 optimizer.lr=0.1",
            "ResNet-18 optimizer.lr=0.5",
            "ResNet-50",
        ]
        assert [line.error and line.error.mean for line in results(block)] == [6.0, 7.0, 4.0]

    def test_settings_that_cannot_change_the_result_part_nothing(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        folder = write_run(tmp_path / "b", 7.0, seed=1)
        config = (folder / "config.yaml").read_text()
        changed = config.replace("root: data", "root: /elsewhere").replace("accelerator: auto", "accelerator: gpu")
        assert changed != config
        (folder / "config.yaml").write_text(changed)
        [line] = lines(tmp_path)
        assert line.error is not None
        assert line.error.n == 2

    def test_a_cell_with_fewer_seeds_than_others_says_so(self, tmp_path: Path) -> None:
        for seed in range(3):
            write_run(tmp_path / f"cnn{seed}", 5.0, seed=seed)
            if seed:
                write_run(tmp_path / f"ccnn{seed}", 4.0 + seed, seed=seed, convert=True)
        shown = sheet(arrange(read(tmp_path))[0][0])
        assert [line[1] for line in shown.groups[0].lines] == ["5.00 ± 0.00 (3)", "5.50 ± 0.71 (2 of 3)"]

    def test_the_papers_counts_of_parameters_are_of_10_classes(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 25.0, model="resnet50", data="cifar100", parameters=23_705_252)
        write_run(tmp_path / "b", 5.0, model="resnet50")
        c10, c100 = (sheet(block) for block in arrange(read(tmp_path))[0])
        assert c100.groups[0].name == "ResNet-50 (23,705,252 parameters; paper: 23.5 M)"
        assert c100.notes == ("The paper counts the parameters of ResNets with 10 classes, here they have 100.",)
        assert c10.notes == ()

    def test_the_papers_protocol_is_named(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        blocks, _ = arrange(read(tmp_path))
        assert "protocol=paper: best test epoch" in sheet(blocks[0]).title

    def test_another_recipe_than_the_papers_is_marked(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0, epochs=30, lr=0.2)
        blocks, _ = arrange(read(tmp_path))
        shown = sheet(blocks[0])
        assert shown.groups[0].lines[0][5] == "+0.51†"
        [note] = shown.notes
        assert note.startswith("† other number of epochs than the paper's (30 instead of 300), ")
        assert note.endswith(" other learning rate (0.2 instead of 0.1).")

    def test_the_papers_own_recipe_is_not_marked(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        blocks, _ = arrange(read(tmp_path))
        shown = sheet(blocks[0])
        assert shown.groups[0].lines[0][5] == "+0.51"
        assert shown.notes == ()

    def test_no_published_value_beside_a_run_that_does_not_state_its_protocol(self, tmp_path: Path) -> None:
        folder = write_run(tmp_path / "a", 6.0, protocol=None)  # type: ignore[arg-type]
        (folder / "config.yaml").unlink()
        [line] = lines(tmp_path)
        assert line.published is None
        assert line.difference is None

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"target": "ccnn.models.torchvision_model"}, "resnet18 (torchvision)"),
            ({"target": "my.networks.build"}, "resnet18 (my)"),
            ({"settings": {"model.channels": [8, 8, 8, 8]}}, "resnet18 model.channels=[8,8,8,8]"),
            ({"settings": {"model.depth": 20, "model.expansion": 4}}, "resnet18 model.depth=20"),
            ({"target": "ccnn.models.VGG"}, "resnet18 model._target_=ccnn.models.VGG"),
        ],
    )
    def test_another_network_of_the_same_name_is_not_the_papers(
        self, change: dict, name: str, tmp_path: Path
    ) -> None:
        write_run(tmp_path / "a", 6.0, **change)
        [line] = lines(tmp_path)
        assert line.row.model == name
        assert line.published is None

    @pytest.mark.parametrize("model", [model for model in NAMES if model != "toy_2x3x3"])
    def test_the_papers_networks_have_their_names(self, model: str, compose: Compose, tmp_path: Path) -> None:
        config: Any = OmegaConf.to_container(compose(f"model={model}", "data=cifar100").model, resolve=True)
        write_run(tmp_path / "a", 6.0, model=model, settings={"model": config | {"checkpointing": True}})
        [line] = lines(tmp_path)
        assert line.row.model == model

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            (
                {"optimizer._target_": "torch.optim.AdamW", "optimizer.lr": 1e-3},
                "optimizer (AdamW instead of SGD)",
            ),
            ({"optimizer.momentum": 0}, "optimizer.momentum (0 instead of 0.9)"),
            ({"optimizer.nesterov": False}, "optimizer.nesterov (false instead of true)"),
            ({"optimizer.dampening": 0.1}, "optimizer.dampening (0.1 instead of none)"),
            (
                {"scheduler": {"_target_": "ccnn.training.schedulers.constant"}},
                "schedule (constant instead of multistep)",
            ),
            ({"scheduler.fractions": [0.3, 0.6]}, "scheduler.fractions ([0.3, 0.6] instead of [0.5, 0.75])"),
            ({"data.augmentation.crop_padding": 0}, "data.augmentation.crop_padding (0 instead of 4)"),
            ({"data.mean": [0.5, 0.5, 0.5]}, "data.mean ([0.5, 0.5, 0.5] instead of [0.5071, 0.4867, 0.4408])"),
            ({"trainer.limit_train_batches": 1}, "trainer.limit_train_batches (1 instead of 1.0)"),
            ({"trainer.accumulate_grad_batches": 4}, "trainer.accumulate_grad_batches (4 instead of 1)"),
            ({"trainer.devices": 2}, "trainer.devices (2 instead of 1)"),
        ],
    )
    def test_any_other_setting_than_the_papers_is_marked(
        self, settings: dict[str, object], said: str, tmp_path: Path
    ) -> None:
        folder = write_run(tmp_path / "a", 6.0)
        config = OmegaConf.load(folder / "config.yaml")
        for key, value in settings.items():
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        OmegaConf.save(config, folder / "config.yaml")
        shown = sheet(arrange(read(tmp_path))[0][0])
        assert shown.groups[0].lines[0][5] == "+0.51†"
        assert [note for note in shown.notes if note.startswith("†")] == [
            f"† other {said}.".replace(" (", " than the paper's (", 1)
        ]

    @pytest.mark.parametrize(
        "settings",
        [
            {"trainer.limit_train_batches": 1.0, "trainer.precision": "bf16-mixed", "trainer.devices": [3]},
            {"optimizer.fused": True},
        ],
    )
    def test_what_changes_nothing_is_not_marked(self, settings: dict[str, object], tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0, settings=settings)
        [line] = lines(tmp_path)
        assert line.published == 5.49
        assert line.unlike == ()

    @pytest.mark.parametrize("augment", ["none", "shift", "standard"])
    def test_each_augmentation_of_mnist_is_the_papers(self, augment: str, tmp_path: Path) -> None:
        mnist: dict[str, Any] = {"data": "mnist", "epochs": 100, "train_images": 60_000, "batch_size": 16}
        normal = {"data.mean": [0.1307], "data.std": [0.3081], "data.image_size": 28}
        write_run(tmp_path / "a", 0.5, model="toy", augment=augment, settings=normal, **mnist)
        write_run(tmp_path / "b", 0.5, model="toy", augment=augment, settings={"data.image_size": 32}, **mnist)
        assert sorted(line.unlike for line in lines(tmp_path)) == [(), (("data.image_size", 32, 28),)]

    def test_no_published_value_beside_an_error_on_a_part_of_the_test_set(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0, settings={"trainer.limit_test_batches": 4})
        [line] = lines(tmp_path)
        assert (line.published, line.difference, line.unlike) == (None, None, ())
        [note] = sheet(line.block).notes
        assert note.startswith("ResNet-18, CNN: scored on a part of the test set (trainer.limit_test_batches=4)")

    def test_a_model_without_cnn_is_compared_with_its_baseline(self, tmp_path: Path) -> None:
        mnist: dict[str, Any] = {
            "data": "mnist",
            "augment": "standard",
            "epochs": 100,
            "train_images": 60_000,
            "batch_size": 16,
        }
        write_run(tmp_path / "a", 0.30, model="toy", multiply_adds=100, **mnist)
        write_run(tmp_path / "b", 0.26, model="toy_2x3x3", convert=True, multiply_adds=150, **mnist)
        line = one(lines(tmp_path), "naive", "toy_2x3x3")
        assert line.gain is not None
        assert line.gain.difference == pytest.approx(0.04)
        assert line.multiply_adds_ratio == pytest.approx(4.5)
        assert (line.published, line.spread, line.published_gain) == (0.25, 0.02, 0.05)

    def test_times_of_different_machines_are_marked(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        folder = write_run(tmp_path / "b", 5.0, convert=True, seconds=7200)
        assert one(lines(tmp_path), "naive").machines
        environment = (folder / "environment.json").read_text()
        (folder / "environment.json").write_text(environment.replace('"gpus": []', '"gpus": ["A100"]'))
        blocks, _ = arrange(read(tmp_path))
        assert "2.00 ×‡" in texts(blocks)
        assert "‡ training times of different machines." in texts(blocks)


class TestSingleRuns:
    def test_failed_and_running_ones_show(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a0", 6.0)
        write_run(tmp_path / "a1", state="failed", problem="CUDA out of memory.", seed=1)
        for seed in (0, 1):
            write_run(tmp_path / f"b{seed}", state="failed", seed=seed, convert=True)
        write_run(tmp_path / "b2", state="running", seed=2, convert=True)
        write_run(tmp_path / "c", state="running", model="resnet50")
        (write_run(tmp_path / "d", model="resnet50", convert=True) / "status.json").unlink()
        blocks, _ = arrange(read(tmp_path))
        [block] = blocks  # unfinished runs do not know their number of training images, but belong here
        shown = sheet(block)
        errors = [line[1] for group in shown.groups for line in group.lines]
        assert errors == [
            "6.00 (1)\nfailed (1 of 2)",
            "failed (2 of 3)\nrunning (1 of 3)",
            "running",
            "unfinished",
        ]
        assert f"ResNet-18, CNN, seed 1: failed: CUDA out of memory ({tmp_path / 'a1'})." in shown.notes

    def test_a_status_that_says_finished_without_a_result_is_not_believed(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", state="finished")
        [line] = lines(tmp_path)
        assert line.error is None
        assert line.states == {"unfinished": 1}

    def test_of_one_seed_the_newest_counts(self, tmp_path: Path) -> None:
        write_run(tmp_path / "new", 5.0, date="2026-03-01T00:00:00+00:00")
        write_run(tmp_path / "old", 9.0, date="2026-02-28T23:00:00+00:00")
        write_run(
            tmp_path / "oldest", 8.0, date="2026-03-01T00:30:00+02:00"
        )  # by its zone an hour and a half older
        [line] = lines(tmp_path)
        assert line.error is not None
        assert (line.error.mean, line.error.n) == (5.0, 1)
        assert line.block.notes == (f"ResNet-18, CNN, seed 0: 3 runs, the newest one counts, {tmp_path / 'new'}.",)

    def test_a_finished_run_counts_before_a_newer_one_that_failed(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 5.0, date="2026-02-01T00:00:00+00:00")
        write_run(tmp_path / "b", state="failed", date="2026-03-01T00:00:00+00:00")
        [line] = lines(tmp_path)
        assert line.error is not None
        assert line.error.mean == 5.0
        assert "the newest finished one counts" in line.block.notes[0]

    def test_different_versions_of_the_program_are_told(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 5.0)
        assert arrange(read(tmp_path))[1] == []
        write_run(tmp_path / "b", 5.0, seed=1, commit="b" * 40)
        [note] = arrange(read(tmp_path))[1]
        assert "different versions" in note
        assert "bbbbbbbbbbbb (1)" in note


class TestTables:
    def test_missing_cells_show_beside_published_values(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        blocks, _ = arrange(read(tmp_path), TABLES["table1"])
        shown = [sheet(block, TABLES["table1"]) for block in blocks]
        assert [one.title.partition(" ")[0] for one in shown] == ["C10*", "C10", "C100"]
        assert shown[0].title.endswith("no runs")
        cells = {
            (one.title.partition(" ")[0], group.name.partition(" (")[0], line[0]): (line[1], line[4])
            for one in shown
            for group in one.groups
            for line in group.lines
        }
        assert len(cells) == 2 * (5 + 6 + 6) + 1  # every value of Table 1
        assert cells["C10", "ResNet-18", "CNN"] == ("6.00 (1)", "5.49")
        assert cells["C10", "ResNet-18", "CCNN naive"] == ("–", "4.90")
        assert cells["C100", "VGG-11-BN", "CNN"] == ("–", "29.93")
        assert cells["C10", "Wide-ResNet-28x10 + 2×3×3", "CCNN naive"] == ("–", "3.51")

    def test_what_is_of_another_table_is_left_out_and_told(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0)
        write_run(tmp_path / "b", 6.0, data="digits")
        write_run(tmp_path / "c", 6.0, model="resnet34")
        blocks, notes = arrange(read(tmp_path), TABLES["table1"])
        assert sum(line.error is not None for block in blocks for line in results(block)) == 1
        assert notes[0].startswith("2 of 3 runs")

    @pytest.mark.parametrize(("data", "shown"), [("digits", False), ("cifar10", True)])
    def test_columns_of_the_paper_are_there_where_it_has_errors(
        self, data: str, shown: bool, tmp_path: Path
    ) -> None:
        write_run(tmp_path / "a", 6.0, data=data)
        (block,), _ = arrange(read(tmp_path))
        assert ("paper" in sheet(block).header) is shown

    def test_a_table_of_other_runs_alone_is_refused(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 6.0, data="digits")
        write_run(tmp_path / "b", 6.0, model="resnet34")
        message = r"none of the 2 runs .*there are resnet18 on digits, resnet34 on cifar10\. Leave --table out"
        with pytest.raises(UserError, match=message):
            arrange(read(tmp_path), TABLES["table1"])
        assert arrange([], TABLES["table1"])[0]  # nothing has run yet: all cells are missing

    def test_table8_has_what_is_published_besides(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", 0.4, model="toy", data="mnist", augment="shift")
        blocks, _ = arrange(read(tmp_path), TABLES["table8"])
        shift = sheet(blocks[1], TABLES["table8"])
        assert shift.title.startswith("MNIST, shift ·")
        assert "Published besides: CapsNet with reconstruction, 8.2 M parameters: 0.25 %." in shift.notes
        assert not any("CapsNet" in note for note in sheet(blocks[0], TABLES["table8"]).notes)

    def test_found_data_keep_the_papers_order_and_others_follow(self, tmp_path: Path) -> None:
        for data in ("digits", "cifar100", "mnist", "cifar10"):
            write_run(tmp_path / data, 6.0, data=data)
        blocks, _ = arrange(read(tmp_path))
        assert [block.column.data for block in blocks] == ["cifar10", "cifar100", "mnist", "digits"]
