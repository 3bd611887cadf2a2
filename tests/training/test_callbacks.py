"""What the callbacks show and measure."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from experiments import Run

from ccnn.training.callbacks import Throughput, peak_memory
from ccnn.training.console import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (3600, "1 h 0 min"), (9000, "2 h 30 min")],
)
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_peak_memory_is_that_of_this_process() -> None:
    before = peak_memory(torch.device("cpu"))
    size = int(before) + 64  # MiB
    block = torch.ones(size * 2**18)
    assert peak_memory(torch.device("cpu")) >= block.nbytes / 2**20


def test_throughput_counts_images_of_all_processes_and_no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ccnn.training.callbacks.perf_counter", lambda: now[0])
    logged: dict[str, float] = {}
    trainer: Any = SimpleNamespace(world_size=2)
    module: Any = SimpleNamespace(
        device=torch.device("cpu"), log_dict=lambda values, logger, rank_zero_only: logged.update(values)
    )
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, module)
    for _ in range(3):
        now[0] += 1
        throughput.on_train_batch_end(trainer, module, None, (torch.zeros(10, 1), torch.zeros(10)), 0)
    throughput.on_validation_start(trainer, module)
    now[0] += 100
    throughput.on_validation_end(trainer, module)
    throughput.on_train_epoch_end(trainer, module)
    assert logged["system/images_per_second"] == pytest.approx(20)


def test_the_first_step_of_a_compiled_network_is_printed_and_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("ccnn.training.callbacks.perf_counter", lambda: now[0])
    logged: list[tuple[dict[str, float], int]] = []
    logger = SimpleNamespace(log_metrics=lambda row, step: logged.append((row, step)))
    trainer: Any = SimpleNamespace(
        is_global_zero=True, current_epoch=0, global_step=0, loggers=[logger], world_size=1
    )
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    callback, batch = Throughput(compiled=True), (torch.zeros(1), torch.zeros(1))
    for seconds in (12.34, 0.42, 5.0):
        now[0] += 100  # loading the batch is not part of the step
        callback.on_train_batch_start(trainer, module, batch, 0)
        now[0] += seconds
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, batch, 0)
    assert capsys.readouterr().out == "First step, with compiling: 12.3 s.\n"
    assert logged == [({"system/first_step_seconds": pytest.approx(12.34), "epoch": 0}, 0)]


def test_without_a_terminal_there_is_one_line_per_epoch(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("trainer.max_epochs=3", "logger=none")
    output = capsys.readouterr()
    lines = [line for line in output.out.splitlines() if line.startswith("epoch ")]
    pattern = r"train error [\d.]+ %, val error [\d.]+ %, train loss .*, lr 0\.\d+, \d+ images/s, .* left"
    assert [line.split(",")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all(re.search(pattern, line) for line in lines)
    assert lines[-1].endswith("0 s left")
    assert output.err == ""


def test_on_a_terminal_there_is_a_bar_and_the_lines_stay(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    run("trainer.max_epochs=2", "logger=none")
    output = capsys.readouterr().out
    assert re.search(r"epoch 1/2, train error [\d.]+ %, val error", output)
    assert "Epoch 1/1" in output
    assert "━" in output
