"""Which folder a run starts in, and what keeps it out; hardly anything is trained."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments import RANDOM, SMALL, Compose, Run, signal_at
from omegaconf import OmegaConf
from run_results import metrics, status

from ccnn.cli.evaluate import evaluation_config
from ccnn.errors import UserError
from ccnn.runs.lock import LOCK
from ccnn.runs.resuming import find_start
from ccnn.runs.status import write_status


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_not_run_again(finished: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(finished)
    result = run(f"resume={finished}", folder="elsewhere")
    assert result["test/error"] == metrics(finished)["test/error"]
    assert "is finished already" in capsys.readouterr().out
    assert files(finished) == before


def test_a_result_without_the_status_finished_gets_it(finished: Path, run: Run) -> None:
    content = status(finished) | {"state": "running", "process": 2**22 + 1}
    (finished / "status.json").write_text(json.dumps(content))
    run(f"resume={finished}", folder="elsewhere")
    assert status(finished)["state"] == "finished"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=vgg11_bn", "model._target_ is 'ccnn.models.Toy' there, now 'ccnn.models"),
        ("seed=3", "seed is 0 there, now 3"),
        ("sampling=naive", "sampling.evaluation is 'lattice' there, now None"),
        ("convert=false", "convert is True there, now False"),
        (
            "trainer.max_epochs=9",
            "trainer.max_epochs is 2 there, now 9. Take the override away, or choose another "
            "folder. The schedule depends on its length: a longer training is a new run.",
        ),
        ("+optimizer.dampening=0.5", "optimizer.dampening is None there, now 0.5"),
        ("experiment=example", "there, now"),
    ],
)
def test_a_run_is_not_resumed_as_another(override: str, message: str, stopped: Path, run: Run) -> None:
    before = files(stopped)
    with pytest.raises(UserError, match=f"is the run of another configuration: .*{re.escape(message)}"):
        run(f"resume={stopped}", override, folder="elsewhere")
    assert files(stopped) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no folder of a run, it has no config.yaml"),
        (b"", "is no configuration of a run"),
        (b"- a list\n", "is no configuration of a run"),
        (b"model: [\n", "cannot be read"),
        (b"seed: 0\n", "is no configuration of a run"),
        (b"\xff\xfe\x00", "cannot be read: 'utf-8' codec"),
    ],
)
def test_a_folder_without_a_run_is_an_error(
    content: bytes | None, message: str, compose: Compose, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    if content is not None:
        (folder / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"^resume: {folder}.* {message}"):
        find_start(compose(f"resume={folder}"), tmp_path / "elsewhere", (f"resume={folder}",), sweep=False)
    with pytest.raises(UserError, match=f"^run: {folder}.* {message}"):
        evaluation_config(compose(f"+run={folder}"), [f"run={folder}"])


def test_a_run_that_is_running_is_an_error(stopped: Path, run: Run) -> None:
    write_status(stopped, "running")
    content = status(stopped) | {"process": os.getppid(), "started": None}
    (stopped / "status.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"is running, as process {os.getppid()} of .*status\.json"):
        run(f"resume={stopped}", folder="elsewhere")


def test_auto_takes_the_newest_unfinished_run_of_the_same_command(
    stopped: Path, compose: Compose, tmp_path: Path
) -> None:
    names = [f"digits_toy_{day}_10-00-00" for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")]
    for name in names:
        shutil.copytree(stopped, tmp_path / name)
    other = tmp_path / names[2] / "config.yaml"
    other.write_text(re.sub("^seed: 0$", "seed: 3", other.read_text(), flags=re.MULTILINE))
    older = OmegaConf.load(tmp_path / names[1] / "config.yaml")
    del older.data.augmentations.randaugment  # a choice that the version of this run did not have
    OmegaConf.save(older, tmp_path / names[1] / "config.yaml")
    shutil.copy(tmp_path / names[0] / "config.yaml", tmp_path / names[3] / "metrics.json")  # as if finished
    config = compose(*SMALL, *RANDOM, *signal_at(5), "resume=auto")
    config.output_dir = str(tmp_path / "digits_toy_2026-01-05_10-00-00")
    start = find_start(config, Path(config.output_dir), (), sweep=False)
    start.lock.release()
    assert (start.folder, start.checkpoint) == (
        tmp_path / names[1], tmp_path / names[1] / "checkpoints/last.ckpt")  # fmt: skip
    for name in names:
        shutil.rmtree(tmp_path / name)
    assert find_start(config, Path(config.output_dir), (), sweep=False).checkpoint is None


def changed(path: Path, **entries: Any) -> None:
    """Gives a checkpoint other entries."""
    torch.save(torch.load(path, weights_only=True) | entries, path)


def test_a_checkpoint_of_another_network_is_an_error(stopped: Path, run: Run) -> None:
    last = stopped / "checkpoints/last.ckpt"
    weights = torch.load(last, weights_only=True)["state_dict"]
    changed(last, state_dict=weights | {"model.classifier.bias": torch.zeros(3)})
    with pytest.raises(UserError, match=r"is of another network: model.classifier.bias .* \(3,\) there, here"):
        run(f"resume={stopped}", folder="elsewhere")
    assert status(stopped)["state"] == "interrupted"


def test_another_number_of_processes_is_an_error(stopped: Path, run: Run) -> None:
    last = stopped / "checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["processes"] == 1
    changed(last, processes=2)
    message = f"{stopped}: was trained by 2 processes, now 1; resume with trainer.devices=2"
    with pytest.raises(UserError, match=message):
        run(f"resume={stopped}", folder="elsewhere")
    assert status(stopped)["state"] == "interrupted"


@pytest.mark.parametrize("resume", ["null", "auto"])
def test_a_folder_with_unrelated_files_is_an_error(resume: str, run: Run, tmp_path: Path) -> None:
    other = tmp_path / "run/another_run/checkpoints/last.ckpt"
    other.parent.mkdir(parents=True)
    other.write_text("of another run")
    message = f"{tmp_path}/run: holds other files, such as another_run; .*hydra.run.dir="
    with pytest.raises(UserError, match=message):
        run(*RANDOM, f"resume={resume}")
    assert list(files(tmp_path)) == [other]


def is_locked(folder: Path) -> bool:
    """Whether another process is kept out."""
    program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", program, str(folder / LOCK)]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0


@pytest.mark.parametrize("known", [True, False])
def test_a_folder_is_locked_from_the_first_look_until_its_process_dies(
    known: bool, stopped: Path, compose: Compose, tmp_path: Path
) -> None:
    """Before data are read, the status still says that the run was interrupted, or nothing."""
    folder = stopped if known else tmp_path / "new"
    folder.mkdir(exist_ok=True)
    overrides = (f"resume={stopped}",) if known else ()
    config = compose(*overrides, f"output_dir={folder}")
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('17 of elsewhere', file=file, end='', flush=True); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = files(folder)
        with pytest.raises(UserError, match=f"{folder}: is running, as process 17 of elsewhere"):
            find_start(config, folder, overrides, sweep=False)
        assert files(folder) == before
        other.kill()
    start = find_start(config, folder, overrides, sweep=False)
    assert is_locked(folder)
    start.lock.release()
    assert not (folder / LOCK).exists()


@pytest.mark.parametrize("override", ["filename=latest", "dirpath=/elsewhere"])
def test_the_last_checkpoint_is_where_resume_looks(override: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"callbacks.last_checkpoint.*where resume looks"):
        run(f"callbacks.last_checkpoint.{override}")
    assert not (tmp_path / "run").exists()
