"""The LightningModule: its metrics, its seeds, and what it does when training diverges."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ccnn.errors import UserError
from ccnn.training.classifier import Classifier, ErrorRate
from ccnn.training.schedulers import constant


def classifier(model: nn.Module, seed: int = 0, lr: float = 0.1) -> Classifier:
    def configure(network: nn.Module) -> Any:
        optimizer = torch.optim.SGD(network.parameters(), lr=lr)
        return {"optimizer": optimizer, "lr_scheduler": constant(optimizer)}

    return Classifier(model, configure, 3, seed, {"lr": lr})


def loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(24, 1, 4, 4, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(24) % 3), batch_size=8)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.filterwarnings("ignore")
def fit(module: Classifier, **arguments: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1, **arguments,
    )  # fmt: skip
    trainer.fit(module, loader())
    return trainer


def test_error_rate_counts_wrong_images_over_all_batches() -> None:
    error = ErrorRate(num_classes=3)
    error.update(torch.eye(3), torch.tensor([0, 1, 2]))
    error.update(torch.eye(3)[:1], torch.tensor([1]))
    assert error.compute().item() == pytest.approx(25.0)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_dropout_follows_from_seed_and_step_alone() -> None:
    def draws(seed: int, disturbed: bool) -> Tensor:
        seen = []

        class Probe(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                seen.append(torch.rand(2))
                if disturbed:
                    torch.rand(5)
                return x

        fit(classifier(nn.Sequential(Probe(), linear()), seed))
        return torch.stack(seen)

    first = draws(seed=1, disturbed=False)
    assert first.equal(draws(seed=1, disturbed=True))
    assert not first.equal(draws(seed=2, disturbed=False))
    assert len(first.unique()) == first.numel(), "every step draws something else"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_step() -> None:
    class BreaksAtStepTwo(nn.Module):
        steps = 0

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return x * torch.nan if self.steps == 3 else x

    with pytest.raises(UserError, match=r"loss is nan at step 2, in epoch 1.*optimizer\.lr"):
        fit(classifier(nn.Sequential(BreaksAtStepTwo(), linear())))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_epoch_metrics_are_those_of_all_images() -> None:
    module = classifier(linear(), lr=0.0)
    trainer = fit(module)
    images, labels = next(iter(DataLoader(loader().dataset, batch_size=24)))
    scores = module(images)
    expected = 100 * (scores.argmax(1) != labels).float().mean()
    assert trainer.callback_metrics["train/error"].item() == pytest.approx(expected.item())
    loss = nn.functional.cross_entropy(scores, labels).item()
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(loss, rel=1e-5)
    assert trainer.callback_metrics["lr"].item() == 0.0
