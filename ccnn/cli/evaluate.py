"""The command line of scripts/evaluate.py: Hydra's groups and keys, and a few short words for its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

import ccnn.config.run_name  # registers the resolver that conf/config.yaml needs  # noqa: F401
from ccnn.config import CONF
from ccnn.errors import UserError
from ccnn.runs.allowed_targets import check_targets
from ccnn.runs.folder import saved_config

HELP = """\
Scores a network whose weights are given, as it is and converted to a checkered CNN, without any training (the
paper's Table 2). All are shown the same images in one pass over the test set and share their weights.

Usage:  python scripts/evaluate.py model=… model.name=… model.weights=… data=… [key=value ...]
        python scripts/evaluate.py run=FOLDER [key=value ...]

  run=FOLDER             a run of train.py: its network, its data and its best weights, else the last; or one of
                         its files, run=FOLDER/checkpoints/last.ckpt
  model=torchvision      or timm; model.name=resnet152, model.weights=DEFAULT, IMAGENET1K_V1, … or a file with
                         a state_dict
  data=imagenet          data.root=FOLDER holds val/<class folder>/*.JPEG; or any other data set of train.py
  sampling=naive,lattice methods to convert with (default: these two): traditional, naive, lattice, three_quarters,
                         complete, custom
  sampling.skip_first=1  and the other keys of conf/sampling apply to all of them
  sampling.border=zeros,replicate        several values: each with every method
  limit=1000             that many images, evenly spaced over the test set; default: all
  batch_size=64          images shown to a network at once; default: data.eval_batch_size
  device=auto            auto, cpu or cuda
  precision=32-true      or bf16-mixed
  output=FOLDER          for evaluation.json, evaluation.csv and evaluation.md; default: a new one in
                         outputs/evaluations
  debug=true             errors show their traceback

Images are prepared as the weights want it: torchvision's and timm's say so themselves, a local file is taken for
the network's default weights unless it has the name of others. data.resize, data.crop (pixels), data.mean and
data.std come first. What is done is shown.

Examples
  python scripts/evaluate.py model=torchvision model.name=resnet152 model.weights=IMAGENET1K_V1 data=imagenet \\
      data.root=/data/imagenet sampling=naive,lattice,complete
  python scripts/evaluate.py model=torchvision model.name=resnet50 model.weights=resnet50.pth data=imagenet \\
      data.root=/data/imagenet limit=1000 precision=bf16-mixed
  python scripts/evaluate.py model=timm model.name=resnet18d model.weights=ra2_in1k data=imagenet \\
      data.root=/data/imagenet
  python scripts/evaluate.py run=outputs/runs/digits_toy_ccnn-naive_seed0_2026-01-31_12-00-00 \\
      sampling=lattice,complete device=cpu
"""

_SHORT = {
    "limit": "evaluation.limit",
    "device": "evaluation.device",
    "precision": "evaluation.precision",
    "batch_size": "data.eval_batch_size",
}
_OF_A_RUN = ("data.", "sampling.", "debug", "trust=")
"""What can be changed of a run's own configuration: where and how its data are read, and how it is converted."""


@dataclass(frozen=True)
class Job:
    """What was asked for: the arguments of `ccnn.evaluation.evaluate`.

    Attributes:
        config: composed.
        folder: for the results.
        run: of train.py, whose weights are scored; None: those that the config names.
        checkpoint: which of the run's weights; None: its best, else its last.
    """

    config: DictConfig
    folder: Path
    run: Path | None
    checkpoint: Path | None = None


def job(words: Sequence[str]) -> Job:
    """Composes the configuration that the words of a command line ask for.

    Raises:
        UserError: a word is none of those that `HELP` explains, or the run is none.
        Exception: what Hydra raises for mistakes in keys and values; `ccnn.cli.messages` has words for it.
    """
    overrides, run, output = [], None, None
    for word in words:
        key, _, value = word.partition("=")
        if word.startswith("-"):
            raise UserError(f"{word}: there is no such option; python scripts/evaluate.py --help shows all words.")
        if key in ("run", "output"):
            if not value:
                raise UserError(f"{key}: needs a folder, as in {key}=outputs/….")
            run, output = (Path(value), output) if key == "run" else (run, Path(value))
        elif key == "sampling":
            names = value.strip("[]")
            overrides += [f"evaluation.samplings=[{names}]", *(["sampling=custom"] if "custom" in names else [])]
        elif key == "sampling.border" and "," in value:
            overrides.append(f"evaluation.borders=[{value.strip('[]')}]")
        else:
            overrides.append(word.replace(key, _SHORT.get(key, key), 1))
    run, checkpoint = _checkpoint(run) if run and run.suffix == ".ckpt" else (run, None)
    config = _compose(CONF, overrides) if run is None else _of_run(run, overrides)
    return Job(config, output or _new_folder(config, run), run, checkpoint)


def _checkpoint(path: Path) -> tuple[Path, Path]:
    """The run that a checkpoint is of, and the checkpoint."""
    if not path.is_file():
        raise UserError(f"run: {path}: there is no such file; expected a run's folder or one of its checkpoints.")
    return path.resolve().parents[1], path


def _of_run(run: Path, overrides: Sequence[str]) -> DictConfig:
    """The run's configuration, with the evaluation that is asked for and what newer versions have added."""
    saved = saved_config("run", run)
    asked = [override for override in overrides if override.startswith(("evaluation.", "trust="))]
    changes = [override for override in overrides if override not in asked]
    for override in changes:
        key, _, value = override.lstrip("+").partition("=")
        if not key.startswith(_OF_A_RUN) and (
            not key.endswith("._target_") or OmegaConf.select(saved, key) != value
        ):
            raise UserError(f"{key}: cannot be changed, run={run} brings its own; leave {override} out.")
    defaults, config = _compose(CONF, asked), _compose(run.resolve(), changes)
    named = [{"_target_": override.partition("=")[2]} for override in changes if "._target_=" in override]
    if not defaults.trust:
        check_targets(
            "run", OmegaConf.to_container(OmegaConf.masked_copy(saved, ["data", "model", "sampling"])), named
        )
    with open_dict(config):
        config.evaluation = defaults.evaluation
        for name in defaults:
            if name not in config:
                config[name] = defaults[name]
    return config


def _compose(folder: Path, overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def _new_folder(config: DictConfig, run: Path | None) -> Path:
    name = run.resolve().name if run else f"{config.data.get('name')}_{config.model.get('name')}"
    name = re.sub(r"[^\w.+-]+", "_", name, flags=re.ASCII)[:100]
    return Path("outputs/evaluations") / f"{name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
