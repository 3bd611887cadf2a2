"""One pass over a test set: every batch is loaded once and shown to every network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ccnn.errors import UserError
from ccnn.evaluation.networks import Network


@dataclass
class Score:
    """How one network classified the images.

    Attributes:
        wrong: per batch a bool tensor: the highest score belongs to another class.
        wrong5: likewise for all of the five highest.
        times: (images, seconds) of each batch.
        peak: most GPU memory taken, in MiB, weights and input included; None on a CPU.
    """

    wrong: list[Tensor] = field(default_factory=list)
    wrong5: list[Tensor] = field(default_factory=list)
    times: list[tuple[int, float]] = field(default_factory=list)
    peak: float | None = None

    @property
    def ms_per_image(self) -> float:
        """Median over the full-size batches."""
        full = max(images for images, _ in self.times)
        return median(1000 * seconds / images for images, seconds in self.times if images == full)


@torch.inference_mode()
def score(
    networks: list[Network],
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
    half: bool,
    on_batch: Callable[[int], None],
) -> list[Score]:
    """Scores networks side by side.

    They take turns in seeing a batch first, so that a slow spell of the machine slows all of them. Each sees the
    first batch once more, to warm up. The device is idle whenever the clock is read; loading is not timed.

    Args:
        networks: on `device`, in evaluation mode.
        batches: float32 images (N, C, H, W) and labels (N,), on `device`.
        device: where the networks are.
        half: autocast to bfloat16.
        on_batch: called with the number of images of each batch that is done.

    Raises:
        UserError: a network returns NaN or infinity, or there is not enough memory.
    """
    scores = [Score() for _ in networks]
    for number, (images, labels) in enumerate(batches):
        turn = number % len(networks)
        for i in (*range(turn, len(networks)), *range(turn)):
            if number == 0:
                _timed(networks[i], images, device, half, Score())
            outputs = _timed(networks[i], images, device, half, scores[i])
            if not outputs.isfinite().all():
                raise UserError(
                    f"evaluation: {networks[i].name} returned NaN or infinite scores; its weights are broken, or "
                    "it needs evaluation.precision=32-true."
                )
            ranks = rank(outputs, labels)
            scores[i].wrong.append((ranks >= 1).cpu())
            scores[i].wrong5.append((ranks >= 5).cpu())
        on_batch(len(labels))
    return scores


def rank(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes are ranked above the right one; ties go to the lower class index.

    Args:
        scores: shape (N, classes).
        labels: int64, shape (N,).

    Returns:
        int64, shape (N,).

    Example:
        >>> rank(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]), torch.tensor([2, 1]))
        tensor([1, 1])

    """
    own, right = scores.gather(1, labels[:, None]), labels[:, None]
    classes = torch.arange(scores.shape[1], device=scores.device)
    return ((scores > own) | ((scores == own) & (classes < right))).sum(1)


def _timed(network: Network, images: Tensor, device: torch.device, half: bool, score: Score) -> Tensor:
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    begun = perf_counter()
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            outputs: Tensor = network.model(images)
        if cuda:
            torch.cuda.synchronize(device)
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"evaluation: {network.name} does not fit into the memory of {device} with batches of {len(images)}; "
            "lower data.eval_batch_size."
        ) from error
    score.times.append((len(images), perf_counter() - begun))
    if cuda:
        score.peak = max(score.peak or 0.0, torch.cuda.max_memory_allocated(device) / 2**20)
    return outputs.float()
