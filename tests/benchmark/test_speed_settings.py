"""Each setting that makes training faster is one override, and works with every model, converted or not."""

import pytest
import torch
from experiments import Compose, Run
from small_networks import FORMS, smaller
from torch.nn import functional as F

from ccnn.training.build import build_network

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("convert", ["false", "true"])
@pytest.mark.parametrize("setting", ["bf16", "channels_last", "compile"])
@pytest.mark.parametrize("name", FORMS)
def test_every_model_makes_a_step(
    name: str, setting: str, convert: str, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "timm":
        pytest.importorskip("timm")
    torch.compiler.reset()
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: compile_with(self, backend="aot_eager")
    )  # inductor takes minutes
    switch = [] if setting == "bf16" else [f"{setting}=true"]
    config = compose(f"model={name}", *smaller(name), f"convert={convert}", *switch)
    torch.manual_seed(0)
    model = build_network(config, (1, 16, 16), 10).model
    model.train()
    before = [parameter.clone() for parameter in model.parameters()]
    layout = torch.channels_last if setting == "channels_last" else torch.contiguous_format
    x = torch.randn(4, 1, 16, 16).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.autocast("cpu", torch.bfloat16, enabled=setting == "bf16"):
        loss = F.cross_entropy(model(x), torch.arange(4))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("sampling", ["random", "stochastic"])
def test_methods_that_draw_train_compiled(sampling: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_with(self, backend="aot_eager"))
    options = ("convert=true", f"sampling={sampling}", "trainer.max_epochs=1", "model.dropout=0")
    compiled = run(*options, "compile=true")
    eager = run(*options, folder="eager")
    assert compiled["test/loss"] == pytest.approx(eager["test/loss"], rel=1e-3)
