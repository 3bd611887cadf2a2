"""Turns errors that a user caused into messages; Hydra's own texts where they say what to do."""

from difflib import get_close_matches
from errno import EACCES, EDQUOT, EEXIST, EISDIR, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from ccnn.config import CONF
from ccnn.config.hyperparameters import flatten
from ccnn.errors import UserError, choices

_FULL = (ENOSPC, EDQUOT)
_UNUSABLE = (EACCES, EEXIST, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS, *_FULL)

_KNOWN_TEXTS = {
    "Expected more than 1 value per channel when training": (
        "data.batch_size: batch normalisation cannot train on a single value per channel; use a larger batch."
    ),
    "No trials are completed yet": "The search found nothing: each of its trials failed, for the reasons above.",
    "Config group override must be a string": (
        "A config group (data, model, …) needs the name of a choice, not null or a number; ~group leaves it out."
    ),
    "Only one of --run, --multirun, --cfg": (
        "--cfg shows the configuration of a single run: remove -m, and name one choice for each group."
    ),
}
"""Errors of torch, Optuna and Hydra that are plain ValueErrors: only their text tells them from others."""

_LOST_JOB = ("TerminatedWorkerError", "UncompletedJobError", "FailedJobError")
"""What joblib and submitit raise for a process that was killed or took too long; neither may be installed."""


def explain(error: BaseException) -> str | None:
    """Says what a user did wrong and what to do instead.

    Args:
        error: raised when a configuration was composed, built or run.

    Returns:
        The message, or None if `error` is not a mistake of the user: its traceback is then what helps.

    Example:
        >>> explain(UserError("seed: expected an integer, got 'x'."))
        "seed: expected an integer, got 'x'."
        >>> explain(ZeroDivisionError()) is None
        True
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _UNUSABLE and error.filename:
        return f"{error.filename}: cannot be used: {error.strerror}."
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key or 'config'}: {str(error.msg or error).splitlines()[0]}."
    if isinstance(error, YAMLError):
        return f"A configuration file is not valid YAML: {error}"
    if type(error).__name__ in _LOST_JOB:
        return f"The launcher has lost a job: {str(error).strip().splitlines()[0]}"
    if isinstance(error, ValueError):
        return next((message for text, message in _KNOWN_TEXTS.items() if text in str(error)), None)
    return _explain_hydra(error) if isinstance(error, HydraException) else None


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error says that there is no room left on a disk."""
    return isinstance(error, OSError) and error.errno in _FULL


def _explain_hydra(error: HydraException) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        known = [option for option in error.options if not option.startswith("_")]
        extra = " More come with: pip install 'ccnn[launchers,search]'." if group.startswith("hydra/") else ""
        return f"{group}: there is no choice {name!r}; {choices(name, known)}{extra}"
    if isinstance(error, ConfigCompositionException) and isinstance(cause, ConfigAttributeError | ConfigKeyError):
        key = cause.full_key or ""
        parent, near = key.rpartition(".")[0], _similar_keys(key)
        everything = f"--cfg job --package {parent}" if parent else "--cfg job"
        hint = f"did you mean {' or '.join(near)}?" if near else f"{everything} shows all."
        return f"{key}: there is no such key; {hint} A new key takes a +, as in +{key}=…"
    # One line of Hydra's text, without its search path and links.
    text = " ".join(str(error).split("\nSee https")[0].split("\nConfig search path")[0].split())
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value: {text}"
    explained = explain(cause) if cause else None
    return (
        explained or text
        if isinstance(error, InstantiationException)
        else " ".join(filter(None, [text, explained]))
    )


def _similar_keys(key: str) -> list[str]:
    """The keys of the default configuration that are most like `key`, or whose last part is."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config")
    except (HydraException, OmegaConfBaseException, OSError):  # a file of conf/ is damaged
        return []
    known = sorted(
        [*map(str, config), "experiment", *flatten(OmegaConf.to_container(config))],
        key=lambda name: name.count("."),
    )
    last = get_close_matches(key.rpartition(".")[2], [name.rpartition(".")[2] for name in known], n=1, cutoff=0.75)
    ending = [name for name in known if last and name.rpartition(".")[2] == last[0]]
    return get_close_matches(key, known, n=2, cutoff=0.8) or ending[:2]
