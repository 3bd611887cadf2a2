"""The pictures that TensorBoard gets of a run, on one page: a network is trained for it, which takes seconds."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ccnn.figures.drawing import framed, page_of

_COLUMNS = (
    ("network/sampling_pattern", "test/confusion_matrix"),
    ("data/augmented_batch",),
    ("test/most_confused",),
)
"""What stands below each other."""


def of_a_run(overrides: Sequence[str]) -> Image.Image:
    """Runs an experiment and shows the pictures that it left in its event file.

    Args:
        overrides: of the configuration in conf/. Double precision gives the same picture on all machines.
    """
    with TemporaryDirectory() as folder:
        _run(overrides, Path(folder) / "run")
        found = _images(Path(folder) / "run")
    columns = [[[page_of([[framed(found[tag])]], tag)] for tag in tags] for tags in _COLUMNS]
    typed = " ".join(["python train.py", *overrides])
    return page_of([[page_of(column) for column in columns]], f"TensorBoard's tab IMAGES after {typed}")


def _run(overrides: Sequence[str], folder: Path) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
    from ccnn.config import CONF
    from ccnn.training.run import run

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    logging.disable(logging.INFO)  # what Lightning tells of the machine
    try:
        with redirect_stdout(StringIO()):
            run(config, folder, overrides)
    finally:
        logging.disable(logging.NOTSET)


def _images(folder: Path) -> dict[str, Image.Image]:
    """The images of a folder's event files, by their tags."""
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
