"""The figures that a logger receives of a run, on one page: a network is trained for it, which takes seconds."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ccnn.figures.page import Panel, page

_TAGS = ("network/sampling_pattern", "data/augmented_batch", "test/confusion_matrix", "test/most_confused")


def of_a_run(overrides: Sequence[str]) -> Figure:
    """Runs an experiment and shows the figures in its event file.

    Args:
        overrides: of the configuration in conf/.
    """
    with TemporaryDirectory() as folder:
        _run(overrides, Path(folder) / "run")
        images = _images(Path(folder) / "run")
    panels: list[Panel] = [(np.asarray(images[tag].convert("RGB")), tag) for tag in _TAGS]
    return page([(f"TensorBoard after python train.py {' '.join(overrides)}", panels)])


def _run(overrides: Sequence[str], folder: Path) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
    from ccnn.config import CONF
    from ccnn.training.run import run

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    logging.disable(logging.INFO)  # what Lightning says about the machine
    try:
        with redirect_stdout(StringIO()):
            run(config, folder, overrides)
    finally:
        logging.disable(logging.NOTSET)


def _images(folder: Path) -> dict[str, Image.Image]:
    """The images in a folder's event files, by their tags."""
    from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]
        EventFileLoader,
    )

    return {
        value.tag: Image.open(BytesIO(value.tensor.string_val[2]))
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "images"
    }
