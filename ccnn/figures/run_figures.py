"""The figures that a logger receives of a run, on one page: a network is trained for it, which takes seconds."""

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from ccnn.config.composition import compose
from ccnn.figures.page import Panel, page

_TAGS = ("network/sampling_pattern", "data/augmented_batch", "test/confusion_matrix", "test/most_confused")


def of_a_run(overrides: Sequence[str]) -> Image.Image:
    """Runs an experiment and shows the figures in its event file.

    Args:
        overrides: of the configuration in conf/.
    """
    # Importing these takes seconds.
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    from ccnn.training.run import run

    logging.disable(logging.INFO)  # Lightning's messages about the machine
    with TemporaryDirectory() as folder:
        try:
            with redirect_stdout(StringIO()):
                run(compose("config", overrides), Path(folder) / "run", overrides)
        finally:
            logging.disable(logging.NOTSET)
        events = EventAccumulator(f"{folder}/run").Reload()
        images = [Image.open(BytesIO(events.Images(tag)[0].encoded_image_string)) for tag in _TAGS]
    panels: list[Panel] = [
        (np.asarray(image.convert("RGB")), tag) for image, tag in zip(images, _TAGS, strict=True)
    ]
    return page([(f"TensorBoard after python train.py {' '.join(overrides)}", panels)])
