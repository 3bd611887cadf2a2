"""`trainer=cpu` takes the precision that this machine's processor is fast in, and so does the benchmark."""

from pathlib import Path

import pytest
from experiments import Compose, Run
from omegaconf import OmegaConf

from ccnn.benchmark.workload import has_bf16
from ccnn.config import processor

BOTH = "processor\t: 0\nflags\t\t: fpu avx512f {} ht\n\nprocessor\t: 1\nflags\t\t: fpu avx512f {} ht\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPUINFO", path)
    return path


@pytest.mark.parametrize(
    ("content", "precision"),
    [
        (BOTH.format("avx512_bf16", "avx512_bf16"), "bf16-mixed"),
        (BOTH.format("amx_bf16", "amx_bf16"), "bf16-mixed"),
        (BOTH.format("avx512_bf16x", "avx512_vnni"), "32-true"),
        ("model name\t: avx512_bf16\nflags\t\t: fpu\n", "32-true"),
        ("", "32-true"),
        (None, "32-true"),
    ],
)
def test_the_precision_is_the_processors(
    content: str | None, precision: str, cpuinfo: Path, compose: Compose
) -> None:
    if content is not None:
        cpuinfo.write_text(content, encoding="utf-8")
    config = compose("trainer=cpu")
    assert config.trainer.precision == precision
    assert config.channels_last is True
    assert compose("trainer=cpu", "trainer.precision=64-true").trainer.precision == "64-true"
    assert compose().trainer.precision == "32-true"
    has_bf16.cache_clear()
    try:
        assert has_bf16("cpu") is (precision == "bf16-mixed")
    finally:
        has_bf16.cache_clear()
    assert has_bf16("cuda")


@pytest.mark.parametrize(("flag", "precision"), [("avx512_bf16", "bf16-mixed"), ("avx512f", "32-true")])
def test_a_run_writes_down_what_it_took(
    flag: str, precision: str, cpuinfo: Path, run: Run, tmp_path: Path
) -> None:
    cpuinfo.write_text(BOTH.format(flag, flag), encoding="utf-8")
    run("trainer.precision=${cpu_precision:}", "trainer.max_epochs=1", folder="it")
    written = OmegaConf.load(tmp_path / "it/config.yaml")
    assert OmegaConf.to_container(written)["trainer"]["precision"] == precision  # type: ignore[index,call-overload]
