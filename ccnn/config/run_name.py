"""The name of a run's folder, made of what was chosen for it: `digits_toy_ccnn-naive_seed0_optimizer.lr-0.05`."""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from omegaconf import OmegaConf

from ccnn.config.processor import cpu_precision

_LONGEST = 100  # characters; file systems allow 255, people read fewer


def run_name(chosen: Mapping[str, str], convert: object, seed: object, overrides: Sequence[str]) -> str:
    """Names a run after its data set, network and seed, then after every other override of the command line.

    Names differ within a sweep, because its jobs differ in their overrides: if shortening or replacing characters
    may have made two alike, a hash of everything that names the run is appended. The order of the overrides makes
    no difference.

    Args:
        chosen: the choice of each config group.
        convert: whether the network becomes a CCNN.
        seed: the run's seed.
        overrides: what was typed, such as `["model=resnet18", "optimizer.lr=0.05"]`.

    Example:
        >>> run_name({"data": "digits", "model": "toy", "sampling": "naive"}, True, 0, ["optimizer.lr=0.05"])
        'digits_toy_ccnn-naive_seed0_optimizer.lr-0.05'
    """
    network = f"ccnn-{chosen.get('sampling')}" if convert else "cnn"
    # Named above, or not part of what is run.
    unnamed = {"data", "model", "convert", "seed", "resume", "sweep", "exclude", "debug", "trust", "experiment"}
    unnamed |= {"sampling"} if convert else set()
    typed = [override.lstrip("+") for override in overrides]
    # A stable sort by key: the last of several values of a key counts, so these keep their order.
    rest = sorted((text for text in typed if text.split("=")[0] not in unnamed), key=lambda t: t.partition("=")[0])
    parts = [chosen.get("data"), chosen.get("model"), network, f"seed{seed}"]
    parts += [text.replace("=", "-", 1) for text in rest]
    exact = "_".join(map(str, parts))
    name = re.sub(r"[^\w.+-]+", "_", exact, flags=re.ASCII)
    if name == exact and len(name) <= _LONGEST:
        return name
    digest = blake2b("\n".join(map(str, parts)).encode(), digest_size=4).hexdigest()
    return f"{name[: _LONGEST - 9].rstrip('_')}-{digest}"


# Registered on import, because a launcher that runs jobs in other processes imports this module there.
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("cpu_precision", cpu_precision, replace=True)
