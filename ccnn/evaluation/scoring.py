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
    """What one network made of the images.

    Attributes:
        wrong: whether the highest score is another class's, one bool tensor for each batch.
        wrong5: whether the five highest are, likewise.
        times: (images, seconds) of each batch.
        peak: most memory taken, in MiB, weights and input included; None where it is not measured.
    """

    wrong: list[Tensor] = field(default_factory=list)
    wrong5: list[Tensor] = field(default_factory=list)
    times: list[tuple[int, float]] = field(default_factory=list)
    peak: float | None = None

    @property
    def ms_per_image(self) -> float:
        """The median over the batches of full size."""
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
    """Scores networks.

    They take turns in being the first to see a batch, so that whatever slows the machine down for a while slows
    all of them. Each sees the first batch once more, before, to warm up. The device is idle whenever the clock is
    read; loading is not timed.

    Args:
        networks: on `device`, in evaluation mode.
        batches: float32 images (N, C, H, W) and labels (N,), on `device`.
        device: where.
        half: bfloat16 where it is safe.
        on_batch: called with the number of images that are done.

    Returns:
        For each network its score.

    Raises:
        UserError: a network yields something else than numbers, or there is not enough memory.
    """
    scores = [Score() for _ in networks]
    for number, (images, labels) in enumerate(batches):
        turn = number % len(networks)
        order = [*range(turn, len(networks)), *range(turn)]
        for i in order:
            if number == 0:
                _timed(networks[i], images, device, half, Score())
            outputs = _timed(networks[i], images, device, half, scores[i])
            if not outputs.isfinite().all():
                raise UserError(
                    f"evaluation: {networks[i].name} yields infinite scores or none; its weights are broken, or "
                    "evaluation.precision=32-true is needed."
                )
            ranks = rank(outputs, labels)
            scores[i].wrong.append((ranks >= 1).cpu())
            scores[i].wrong5.append((ranks >= 5).cpu())
        on_batch(len(labels))
    return scores


def rank(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one; of equal scores the first class comes first.

    Args:
        scores: shape (N, classes).
        labels: int64, shape (N,).

    Returns:
        int64, shape (N,).
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
