"""docs/extending.md as it stands, in a folder outside the repository."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT

import pytest
from command_lines import Type
from experiments import signal_at
from run_results import metrics, rows

from ccnn.cli import evaluate, report, train
from ccnn.config import CONF

PAGE = (CONF.parent / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [shlex.split(line) for line in re.findall(r"^ccnn-.*", PAGE, re.MULTILINE)]
METHOD = "corners upper=False"
MAINS = {"ccnn-train": train.main, "ccnn-evaluate": evaluate.main, "ccnn-report": report.main}


@pytest.fixture
def enter(type_in: Type) -> Callable[..., str]:
    """Types a whole command; returns what it prints."""

    def run(command: list[str], code: int = 0) -> str:
        outcome = type_in(MAINS[command[0]], *command[1:], program=command[0])
        assert outcome.code == code, outcome.err
        return outcome.out + outcome.err

    return run


def test_a_module_that_python_does_not_find_ends_in_one_message(type_in: Type, tmp_path: Path) -> None:
    outcome = type_in(train.main, "model._target_=mine.network")
    assert outcome.code == 1
    assert outcome.err == (
        "\nError: model._target_: expected the dotted name of a class or function, got 'mine.network': "
        "ModuleNotFoundError(\"No module named 'mine'\"); a module of your own has to be on PYTHONPATH.\n"
    )
    assert not list(tmp_path.glob("outputs/*/*"))


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore::FutureWarning", "ignore:.*your dataloader is not resumable"
)
def test_parts_of_ones_own_train_resume_sweep_evaluate_and_report(
    enter: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # as PYTHONPATH=. does in a process of its own
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    begin, resume, sweep, score, table = COMMANDS

    printed = enter([*begin, *signal_at(8, SIGINT)], code=130)
    (run,) = (tmp_path / "outputs/runs").iterdir()
    resume, score = ([word.replace("NAME", run.name) for word in command] for command in (resume, score))
    assert f"To go on: {shlex.join(resume)}\n" in printed
    enter(resume)
    result = metrics(run)
    assert [result[key] for key in ("model", "data", "sampling")] == ["small_cnn", "stripes", METHOD]
    lines = [json.loads(line) for line in (run / "lines.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines if "test/error" in line} == {12}
    norms = [row["gradient_norm"] for row in rows(run) if row["gradient_norm"]]
    assert norms == [str(line["gradient_norm"]) for line in lines if "gradient_norm" in line]
    assert len(norms) == 2, "one for each epoch"

    printed = enter(sweep)
    assert f"Their table: {shlex.join(table)}\n" in printed
    jobs = (tmp_path / "outputs/sweeps/default").glob("*/metrics.json")
    assert sorted(json.loads(job.read_text())["seed"] for job in jobs) == [0, 1]

    enter([*score, "output=scores"])
    scored = json.loads((tmp_path / "scores/evaluation.json").read_text())
    own = {network["sampling"]: network for network in scored["networks"]}
    assert set(own) == {None, METHOD, "naive", "lattice"}
    assert own[METHOD]["as_trained"]
    assert own[METHOD]["top1_error"] == pytest.approx(result["test/error"], abs=1e-3)
    enter([*score, "output=fewer", "sampling=lattice", "evaluation.limit=48"])
    fewer = json.loads((tmp_path / "fewer/evaluation.json").read_text())
    assert [network["sampling"] for network in fewer["networks"]] == [None, METHOD, "lattice"]
    assert (fewer["images"], fewer["test_images"]) == (48, 96)

    shown = enter(table)
    for word in ("small_cnn", "stripes", "corners"):
        assert word in shown
