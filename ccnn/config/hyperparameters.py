"""The configuration as a flat table, for checkpoints and for TensorBoard's HPARAMS."""

from typing import Any


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Turns nested mappings into one with dotted keys and plain values; lists become text.

    >>> flatten({"data": {"mean": [0.5], "name": "digits"}, "seed": 0})
    {'data.mean': '[0.5]', 'data.name': 'digits', 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str | int | float | None) else str(value)
    return flat


_TOLD_APART = ("convert", "data.name", "model.name", "sampling.name", "seed")
_SETTINGS = ("model.", "data.augment", "data.batch_size", "sampling.", "optimizer.", "trainer.max_epochs",
             "trainer.precision")  # fmt: skip
_NOT_SHOWN = ("_target_", "_partial_", "in_channels", "num_classes", "data.augmentation")


def shown(flat: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters worth a column in TensorBoard's table of runs.

    It sorts them by name and shows the first five unless told otherwise: these are what tells runs apart. Whole
    numbers are texts, or it would write 32.000.
    """
    columns = {
        name.removesuffix(".name") if name in _TOLD_APART else f"settings.{name}": value
        for name, value in flat.items()
        if name in _TOLD_APART or (name.startswith(_SETTINGS) and not any(part in name for part in _NOT_SHOWN))
    }
    if not flat["convert"]:
        columns["sampling"] = "none"
    return {name: str(value) if isinstance(value, int) else value for name, value in columns.items()}
