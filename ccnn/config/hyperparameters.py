"""The configuration as a flat table, for checkpoints and for TensorBoard's HPARAMS."""

from typing import Any


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Turns nested mappings into one with dotted keys and plain values; lists become text.

    Example:
        >>> flatten({"data": {"mean": [0.5], "name": "digits"}, "steps": {0: 2}})
        {'data.mean': '[0.5]', 'data.name': 'digits', 'steps.0': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str | int | float | None) else str(value)
    return flat


_TOLD_APART = ("convert", "data.name", "model.name", "sampling.name", "seed")
_SETTINGS = ("model.", "data.augment", "data.batch_size", "sampling.", "optimizer.", "trainer.max_epochs",
             "trainer.precision")  # fmt: skip
_NOT_SHOWN = ("_target_", "_partial_", "in_channels", "num_classes", "data.augmentation")


def shown(flat: dict[str, Any]) -> dict[str, Any]:
    """Returns the hyperparameters worth a column in TensorBoard's table of runs.

    TensorBoard sorts columns by name and shows the first five: those that tell runs apart have short names, the
    others begin with `settings.`. Whole numbers become text, or it would write 32.000.

    Example:
        >>> shown({"convert": False, "data.name": "digits", "optimizer.lr": 0.1, "task": "train"})
        {'convert': 'False', 'data': 'digits', 'settings.optimizer.lr': 0.1, 'sampling': 'none'}
    """
    columns = {name.removesuffix(".name"): flat[name] for name in flat if name in _TOLD_APART}
    for name, value in flat.items():
        if name.startswith(_SETTINGS) and name not in _TOLD_APART and not any(part in name for part in _NOT_SHOWN):
            columns[f"settings.{name}"] = value
    if not flat["convert"]:
        columns["sampling"] = "none"
    return {name: str(value) if isinstance(value, int) else value for name, value in columns.items()}
