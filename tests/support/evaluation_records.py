"""Evaluation records as evaluate() returns them, for tests of the report."""

from typing import Any

from ccnn.evaluation.record import EvaluationRecord, NetworkScore


def score(sampling: str | None, error: float, cnn: float, multiply_adds: int = 1_000_000_000) -> NetworkScore:
    """One network's scores; the plain one takes 1 G multiply-adds."""
    gain = None if sampling is None else cnn - error
    return NetworkScore(
        network="CNN" if sampling is None else f"CCNN {sampling}",
        sampling=sampling,
        as_trained=False,
        top1_error=error,
        top1_interval=[error - 0.4, error + 0.4],
        top5_error=None,
        top5_interval=None,
        top1_gain=gain,
        top1_gain_interval=None if gain is None else [gain - 0.2, gain + 0.2],
        fixed=None,
        broken=None,
        ms_per_image=1.25,
        peak_memory_mib=None,
        multiply_adds=multiply_adds,
        multiply_adds_ratio=multiply_adds / 1e9,
        submaps=1,
    )


def evaluation(networks: list[NetworkScore], **changed: Any) -> EvaluationRecord:
    """An evaluation of torchvision's resnet152 on ImageNet, but for what is changed."""
    usual: dict[str, Any] = {
        "model": "resnet152", "library": "torchvision_model", "weights": "DEFAULT",
        "published_weights": "IMAGENET1K_V1", "run": None, "data": "imagenet", "classes": 1000,
        "preprocessing": "central crop", "input_size": [3, 224, 224], "images": 50_000, "test_images": 50_000,
        "batch_size": 100, "parameters": 60_192_808, "device": "cpu", "threads": 1, "precision": "32-true",
        "overrides": [], "config": {}, "environment": {},
    }  # fmt: skip
    return EvaluationRecord(networks=networks, **(usual | changed))
