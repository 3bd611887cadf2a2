"""The command line of train.py: its help, what it imports, a run and a sweep as they are typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import Type
from experiments import SMALL
from omegaconf import OmegaConf

from ccnn.cli import evaluate, train
from ccnn.config import CONF

TRAIN = CONF.parent / "train.py"


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_help_and_the_configuration_are_shown_without_importing_torch(
    arguments: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", str(TRAIN), *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    if "--cfg" in arguments:
        assert OmegaConf.create(result.stdout).model.name == "toy"
    else:
        assert result.stdout.count("python train.py ") >= 5
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "hydra" in modules
    assert not {"torch", "pytorch_lightning"} & modules


def test_help_lists_the_choices_of_every_group_and_the_users_own(type_in: Type, tmp_path: Path) -> None:
    (tmp_path / "mine/loss").mkdir(parents=True)
    (tmp_path / "mine/model").mkdir()
    (tmp_path / "mine/loss/focal.yaml").write_text("gamma: 2\n")
    (tmp_path / "mine/model/zebra.yaml").write_text("name: zebra\n")
    for main in (train.main, evaluate.main):
        lines = type_in(main, "--config-dir", "mine", "--help").out.splitlines()
        listed = {line.split(": ")[0].strip(): line.split(": ")[1].split(", ") for line in lines if ": " in line}
        for path in CONF.glob("*/*.yaml"):
            if path.parent.name != "hydra":
                assert (path.stem in listed[path.parent.name]) is not path.stem.startswith("_"), path
        assert "focal" in listed["loss"]
        assert listed["model"][-1] == "zebra"
        assert not [line for line in lines if "$" in line]


def test_a_group_of_the_users_own_is_composed(type_in: Type, tmp_path: Path) -> None:
    (tmp_path / "mine/optimizer").mkdir(parents=True)
    (tmp_path / "mine/optimizer/slow.yaml").write_text("defaults: [sgd, _self_]\nlr: 0.00125\n")
    shown = type_in(train.main, "--config-dir=mine", "--cfg=job", "optimizer=slow")
    assert shown.code == 0
    assert OmegaConf.create(shown.out).optimizer.lr == 0.00125


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore::FutureWarning")
def test_a_sweep_gives_every_job_its_folder_and_outlives_a_failing_one(type_in: Type, tmp_path: Path) -> None:
    small = (*SMALL, "trainer.max_epochs=1", "callbacks.pictures=null")
    outcome = type_in(train.main, "-m", "convert=false,true", "seed=-1,0", *small)
    assert outcome.code == 1
    assert "Not finished, 2 of 4 jobs that began:" in outcome.err
    assert "Traceback" not in outcome.out + outcome.err
    failed, finished = (sorted(tmp_path.glob(f"outputs/sweeps/default/*_seed{seed}_*")) for seed in (-1, 0))
    assert [path.name.split("_seed0_")[0] for path in finished] == ["digits_toy_ccnn-naive", "digits_toy_cnn"]
    assert [json.loads((path / "status.json").read_text())["state"] for path in failed] == ["failed"] * 2
    ccnn, cnn = (json.loads((folder / "metrics.json").read_text()) for folder in finished)
    assert (ccnn["convert"], cnn["convert"]) == (True, False)
    assert ccnn["multiply_adds"] > cnn["multiply_adds"]


@pytest.mark.slow
def test_a_run_as_typed_warns_of_nothing_even_beside_slurm_and_in_ascii(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/srun").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "PYTHONWARNINGS": "default",
        "PYTHONIOENCODING": "ascii",
    }
    result = subprocess.run(
        [sys.executable, str(TRAIN), "convert=true", *SMALL],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    (folder,) = (tmp_path / "outputs/runs").iterdir()
    assert "digits_toy_ccnn-naive_seed0" in folder.name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['test/error']:.2f} %" in result.stdout
    assert str(folder.relative_to(tmp_path)) in result.stdout
    assert (folder / "train.log").exists()
    assert not (folder / ".hydra").exists()
