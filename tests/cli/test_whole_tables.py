"""The sweeps of Tables 1 and 2 as they are typed, on small data in the true formats, and their report."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from archives import cifar_batches, cifar_pickle, tar_gz
from image_folders import write_images
from processes import ROOT, Nursery

pytestmark = pytest.mark.slow

SHORT = ("-m", "seed=0", "trainer=cpu", "trainer.max_epochs=1", "+trainer.limit_train_batches=2",
         "data.batch_size=4", "callbacks.pictures=null", "logger=csv")  # fmt: skip

TABLE1 = ("experiment=table1", "data.download=false")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def write_cifar(root: Path) -> None:
    """Both archives, with 6 images in each file."""
    for classes, name, folder in (
        (10, "cifar-10-python", "cifar-10-batches-py"),
        (100, "cifar-100-python", "cifar-100-python"),
    ):
        files = {f"{folder}/{key}": cifar_pickle(*batch) for key, batch in cifar_batches(classes).items()}
        tar_gz(root / f"{name}.tar.gz", files)


def test_table1_runs_on_both_archives_and_its_report_has_their_cells(nursery: Nursery, tmp_path: Path) -> None:
    write_cifar(tmp_path)
    command = nursery.train(tmp_path, *SHORT, *TABLE1, f"data.root={tmp_path}", "model=densenet_bc40")
    assert command.code == 0, command.err
    assert command.out.count("Left out of the sweep: data=cifar100, data.augment=none") == 2
    report = [sys.executable, str(ROOT / "scripts/report.py"), "outputs/sweeps/table1", "--table", "table1"]
    printed = subprocess.run(
        [*report, "--format", "csv"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    filled = {(row["data"], row["augment"], row["convert"]) for row in rows if row["test_error"]}
    columns = (("cifar10", "none"), ("cifar10", "standard"), ("cifar100", "standard"))
    assert filled == {(*column, convert) for column in columns for convert in ("False", "True")}
    assert {row["model"] for row in rows if row["test_error"]} == {"densenet_bc40"}
    assert all(0 <= float(row["test_error"]) <= 100 for row in rows if row["test_error"])
    assert all(row["gain"] for row in rows if row["test_error"] and row["convert"] == "True")
    assert {"resnet18", "wide_resnet28_10"} <= {row["model"] for row in rows if not row["test_error"]}
    assert ("cifar100", "none") not in {(row["data"], row["augment"]) for row in rows}


def test_table1_trains_wide_resnets_where_the_paper_did(nursery: Nursery, tmp_path: Path) -> None:
    """Narrow ones: the report knows that they are not those of the table."""
    write_cifar(tmp_path)
    models = "model=wide_resnet28_10,wide_resnet28_10_2x3x3"
    command = nursery.train(
        tmp_path, *SHORT, *TABLE1, f"data.root={tmp_path}", models, "model.depth=10", "++model.width=1"
    )
    assert command.code == 0, command.err
    found = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/sweeps/table1/*/metrics.json")]
    assert sorted((run["model"], run["data"], run["augment"], run["convert"]) for run in found) == [
        ("wide_resnet28_10", "cifar10", "standard", False),
        ("wide_resnet28_10", "cifar10", "standard", True),
        ("wide_resnet28_10", "cifar100", "standard", False),
        ("wide_resnet28_10", "cifar100", "standard", True),
        ("wide_resnet28_10_2x3x3", "cifar10", "standard", True),
    ]


def test_table2_scores_a_network_plain_and_converted(nursery: Nursery, tmp_path: Path) -> None:
    write_images(tmp_path / "imagenet", 3, train=0, val=2)
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), tmp_path / "weights.pth")
    command = nursery.train(
        tmp_path, "-m", "experiment=table2", f"data.root={tmp_path / 'imagenet'}", "data.num_classes=3",
        "data.resize=36", "data.crop=32", "data.num_workers=0", "model.name=resnet18",
        f"model.weights={tmp_path / 'weights.pth'}",
    )  # fmt: skip
    assert command.code == 0, command.err
    (path,) = (tmp_path / "outputs/sweeps/table2").glob("*/evaluation.json")
    result = json.loads(path.read_text())
    assert (result["model"], result["images"]) == ("resnet18", 6)
    assert [network["sampling"] for network in result["networks"]] == [None, "naive", "lattice"]
    assert all(0 <= network["top1_error"] <= 100 for network in result["networks"])
    assert all(network["multiply_adds_ratio"] > 2 for network in result["networks"][1:])
