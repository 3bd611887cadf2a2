"""What TensorBoard gets, read back from its event files."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from experiments import SMALL, Compose, Run
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # type: ignore[import-untyped]
from torch import Tensor, nn

import ccnn
from ccnn.data import normalise
from ccnn.figures import callback as pictures_callback
from ccnn.figures.callback import Pictures
from ccnn.models import Toy
from ccnn.training.build import build_data

PICTURES = {"network/sampling_pattern", "data/augmented_batch", "test/confusion_matrix", "test/most_confused"}
TEXTS = {"run/config/text_summary", "run/conversion/text_summary"}


def written(folder: Path) -> dict[str, list[Any]]:
    """All pictures and texts of a folder's event files, however often they were written."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name in ("images", "text"):
                    found.setdefault(value.tag, []).append(value.tensor.string_val)
    return found


def text(values: list[Any]) -> str:
    return "\n".join(line.removeprefix("    ") for line in values[0][0].decode().splitlines())


class Module(nn.Module):
    """Stands in for the LightningModule."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.device = model, torch.device("cpu")


Make = Callable[..., Any]


@pytest.fixture
def trainer(tmp_path: Path) -> Make:
    def make(**settings: Any) -> Any:
        logger = TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False)
        defaults: dict[str, Any] = {
            "loggers": [logger],
            "is_global_zero": True,
            "global_step": 0,
            "datamodule": None,
            "strategy": SimpleNamespace(reduce=lambda tensor, reduce_op: tensor),
        }
        return SimpleNamespace(**(defaults | settings))

    return make


def batches() -> list[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(20, 1, 8, 8, generator=generator),
            torch.randint(0, 4, (20,), generator=generator),
            torch.randn(20, 4, generator=generator),
        )
        for _ in range(3)
    ]


def show_all(trainer: Any, folder: Path, state: dict[str, Any] | None = None) -> Pictures:
    """Calls the hooks in Lightning's order, after loading a checkpoint's state."""
    (folder / "config.yaml").write_text("seed: 0\n")
    shown = Pictures(str(folder))
    if state is not None:
        shown.load_state_dict(state)
    module: Any = Module(ccnn.convert(Toy(), (1, 16, 16), "lattice"))
    shown.on_train_start(trainer, module)
    for images, labels, _ in batches():
        shown.on_train_batch_start(trainer, module, (images, labels), 0)
    shown.on_test_start(trainer, module)
    for i, (images, labels, scores) in enumerate(batches()):
        shown.on_test_batch_end(trainer, module, scores, (images, labels), i)
    shown.on_test_epoch_end(trainer, module)
    for logger in trainer.loggers:
        logger.save()
        logger.finalize("success")
    return shown


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """What a drawing function is called with from now on."""
    seen: list[Any] = []
    draw = getattr(pictures_callback, name)

    def record(*given: Any) -> Any:
        seen.append(given)
        return draw(*given)

    monkeypatch.setattr(pictures_callback, name, record)
    return seen


@pytest.mark.slow
def test_a_run_shows_each_picture_and_text_once(run: Run, tmp_path: Path) -> None:
    metrics = run("convert=true", "sampling=lattice")
    found = written(tmp_path / "run")
    assert {tag: len(values) for tag, values in found.items()} == dict.fromkeys(PICTURES | TEXTS, 1)
    assert text(found["run/config/text_summary"]) + "\n" == (tmp_path / "run/config.yaml").read_text()
    assert text(found["run/conversion/text_summary"]) + "\n" == (tmp_path / "run/conversion.txt").read_text()
    for tag in PICTURES:
        width, height, content = found[tag][0]
        image = Image.open(BytesIO(content))
        assert image.size == (int(width), int(height))
        assert image.width <= 350, "TensorBoard shrinks it, and its text breaks"
    without = run("convert=true", "sampling=lattice", "callbacks.pictures=null", folder="without")
    assert written(tmp_path / "without") == {}
    del metrics["training_seconds"], without["training_seconds"]
    assert without == metrics


@pytest.mark.slow
def test_the_confusion_matrix_counts_the_test_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch, "confusion_matrix")
    metrics = run("trainer.max_epochs=1")
    ((counts, names),) = seen
    assert names == list("0123456789")
    assert counts.sum() == 500
    assert 100 * (1 - counts.trace() / 500) == pytest.approx(metrics["test/error"], abs=1e-4)


@pytest.mark.slow
def test_the_batch_is_the_first_one_as_augmented(
    run: Run, compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = recorded(monkeypatch, "image_grid")
    run("trainer.max_epochs=1")
    pixels, captions, _ = seen[0]
    config = compose(*SMALL)
    images, labels = build_data(config).training_batch(0, 0)  # type: ignore[attr-defined]
    assert torch.equal(normalise(pixels, config.data.mean, config.data.std), images[:15])
    assert captions == [str(label) for label in labels[:15].tolist()]


def test_a_resumed_run_shows_nothing_twice_and_the_rest(trainer: Make, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    first = trainer()
    module: Any = Module(ccnn.convert(Toy(), (1, 16, 16), "lattice"))
    stopped = Pictures(str(tmp_path))
    stopped.on_train_start(first, module)
    first.loggers[0].finalize("success")
    assert set(written(tmp_path)) == TEXTS | {"network/sampling_pattern"}
    resumed = show_all(trainer(global_step=7), tmp_path, torch.load(saved(stopped, tmp_path), weights_only=True))
    assert {tag: len(values) for tag, values in written(tmp_path).items()} == dict.fromkeys(PICTURES | TEXTS, 1)
    assert set(resumed.state_dict()["shown"]) == PICTURES | {"run/config", "run/conversion"}


def saved(shown: Pictures, folder: Path) -> Path:
    torch.save(shown.state_dict(), folder / "state.pt")
    return folder / "state.pt"


class ImageLogger:
    """A logger with the methods of W&B's."""

    def __init__(self) -> None:
        self.images: dict[str, Any] = {}
        self.texts: dict[str, Any] = {}

    def log_image(self, key: str, images: list[Any]) -> None:
        self.images[key] = images

    def log_text(self, key: str, columns: list[str], data: list[list[str]]) -> None:
        self.texts[key] = data

    def save(self) -> None: ...

    def finalize(self, status: str) -> None: ...


def test_loggers_that_take_images_and_texts_show_them(trainer: Make, tmp_path: Path) -> None:
    logger = ImageLogger()
    show_all(trainer(loggers=[logger]), tmp_path)
    assert set(logger.images) == PICTURES
    assert all(images[0].shape[1:] == (350, 3) for images in logger.images.values())
    assert logger.texts["run/config"] == [["seed: 0\n"]]


def test_only_the_first_process_shows_and_only_with_a_logger(trainer: Make, tmp_path: Path) -> None:
    show_all(trainer(is_global_zero=False), tmp_path)
    assert written(tmp_path) == {}
    shown = show_all(trainer(loggers=[]), tmp_path)
    assert written(tmp_path) == {}
    assert shown._confusions is None


def test_nothing_random_is_drawn(trainer: Make, tmp_path: Path) -> None:
    ccnn.convert(Toy(), (1, 16, 16), "lattice")
    module: Any = Module(ccnn.convert(Toy(), (1, 16, 16), "random"))
    state, others = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    shown, given = Pictures(), trainer()
    shown.on_train_start(given, module)
    for i, (images, labels, scores) in enumerate(batches()):
        shown.on_train_batch_start(given, module, (images, labels), i)
        shown.on_test_batch_end(given, module, scores, (images, labels), i)
    shown.on_test_epoch_end(given, module)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], others)  # type: ignore[index]


def test_the_most_confused_images_are_those_of_highest_loss(
    trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = recorded(monkeypatch, "image_grid")
    names = ("ant", "bee", "cat", "dog")
    data = SimpleNamespace(class_names=names, pixels=lambda images: images.clamp(0, 1).to(torch.uint8))
    show_all(trainer(datamodule=data), tmp_path)
    images, labels, scores = (torch.cat(part) for part in zip(*batches(), strict=True))
    shares = scores.double().softmax(1)
    hardest = sorted(range(60), key=lambda i: float(shares[i, labels[i]]))[:15]
    pixels, captions, _ = seen[-1]
    assert torch.equal(pixels, data.pixels(images[hardest]))
    for i, caption in zip(hardest, captions, strict=True):
        best = int(shares[i].argmax())
        assert caption == f"is {names[labels[i]]}\npredicted {names[best]}\n{100 * shares[i, best]:.0f} % sure"


def test_a_picture_that_fails_is_no_reason_to_stop(
    trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Image.Image:
        raise OSError("no space left on device")

    monkeypatch.setattr("ccnn.figures.callback.confusion_matrix", broken)
    with pytest.warns(UserWarning, match="test/confusion_matrix is not shown: OSError: no space left"):
        show_all(trainer(), tmp_path)


def test_a_plain_network_has_no_pattern(trainer: Make, tmp_path: Path) -> None:
    given, module = trainer(), Module(Toy())
    Pictures().on_train_start(given, module)  # type: ignore[arg-type]
    given.loggers[0].finalize("success")
    assert written(tmp_path) == {}
