"""A job of `task=benchmark`: one network of the paper's Table 3, measured into the run's folder."""

from pathlib import Path

import torch
from omegaconf import DictConfig

from ccnn.benchmark.output import short_table, write
from ccnn.benchmark.suites import SUITES, Options, measure_suite
from ccnn.benchmark.timing import Limits
from ccnn.errors import UserError, choices


def run_job(config: DictConfig, folder: Path) -> None:
    """Measures `model.name` and writes table3.csv, which `scripts/report.py --table table3` reads.

    Args:
        config: `trainer.accelerator` chooses the device; `task=benchmark_quick` takes tiny sizes.
        folder: of the run.

    Raises:
        UserError: if Table 3 has no such network.
    """
    name = str(config.model.name)
    (suite,) = SUITES["table3"]
    if name not in suite.networks:
        raise UserError(f"task=benchmark: model.name is {name!r}; {choices(name, suite.networks)}")
    accelerator = config.trainer.accelerator
    gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    device = "cuda" if gpu else "cpu"
    options = Options(device, Limits(memory=free_memory(device)), config.task == "benchmark_quick", [name])
    frame = measure_suite("table3", options)
    print(short_table("table3", frame))
    write("table3", frame, folder, device)


def free_memory(device: str) -> int | None:
    """Bytes available on a device; None if unknown."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    # 20 % stay for kernels' workspaces and other programs.
    available = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return next((int(0.8 * 1024 * kib) for kib in available), None)
