"""Turns the errors of Hydra and OmegaConf into messages that say what was wrong and what to type instead."""

import re
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from errno import EACCES, EDQUOT, EEXIST, EISDIR, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS

from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from ccnn.config import CONF
from ccnn.errors import UserError, choices

DISK_FULL = (ENOSPC, EDQUOT)
_FILE_TROUBLE = {EACCES, EEXIST, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS, *DISK_FULL}
_Rule = Callable[[re.Match[str], BaseException], str]


def explain(error: BaseException) -> str | None:
    """Says what a user did wrong and how to do it right.

    Args:
        error: what composing the config, building from it, or running it raised.

    Returns:
        The message, or None if `error` is not a mistake of the user: then a traceback is the right thing to show.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException):
        return _instantiation(error)
    if isinstance(error, HydraException | ValueError):
        for pattern, rule in _RULES.items():
            if match := re.search(pattern, str(error), re.DOTALL):
                return rule(match, error)
    if isinstance(error, OmegaConfBaseException):
        return f"{error.full_key or 'config'}: {str(error.msg or error).splitlines()[0]}."
    if isinstance(error, YAMLError):
        return f"A file of {CONF} is not valid YAML: {error}"
    if isinstance(error, OSError) and error.errno in _FILE_TROUBLE and error.filename:
        return f"{error.filename}: cannot be used: {error.strerror}."
    if isinstance(error, OSError) and error.errno in DISK_FULL:  # of a write, which does not say to what
        return f"{error.strerror}: make room, or choose another disk with hydra.run.dir=…"
    if type(error).__name__ in _LOST:
        return f"The launcher has lost a job: {str(error).strip().splitlines()[0]}"
    if isinstance(error, HydraException):
        cause = explain(error.__cause__) if error.__cause__ else None
        return "\n".join(filter(None, [str(error).split("\nSee https")[0].strip(), cause]))
    return None


_LOST = ("TerminatedWorkerError", "UncompletedJobError", "FailedJobError")
"""What joblib and submitit raise for a process that was killed or took too long."""

_EXTRAS = {"optuna": "search", "joblib": "launchers", "submitit_local": "launchers", "submitit_slurm": "launchers"}
"""Choices that come with packages of their own, and the extra that brings them."""


def _no_such_choice(match: re.Match[str], error: BaseException) -> str:
    group, name = match["name"].rpartition("/")[::2]
    if not group:
        return f"There is no config file named {match['name']!r}."
    known = [option.strip() for option in (match["options"] or "").split("\n\t") if option.strip()]
    known = [option for option in known if not option.startswith("_")]
    if name in _EXTRAS:
        return f"{group}: {name!r} is not installed; run: pip install -e '.[{_EXTRAS[name]}]'"
    return f"{group}: there is no choice {name!r}; {choices(name, known)}"


def _no_such_key(match: re.Match[str], error: BaseException) -> str:
    key = match["key"]
    near = like(key)
    if near:
        return f"{key}: there is no such key; did you mean {' or '.join(near)}?"
    parent = key.rpartition(".")[0]
    siblings = OmegaConf.select(_defaults(), parent) if parent else _defaults()
    if isinstance(siblings, DictConfig):
        target = siblings.get("_target_")
        others = f" Other arguments of {target} take a +, as in +{key}=…" if target else ""
        known = [str(name) for name in siblings if not str(name).startswith("_")]
        return f"{key}: there is no such key; {choices(key.rpartition('.')[2], known)}{others}"
    return f"{key}: there is no such key, {parent} has none; python train.py --cfg job shows all keys."


def _instantiation(error: InstantiationException) -> str:
    cause = error.__cause__ or error.__context__
    if explained := explain(cause) if cause else None:
        return explained
    return " ".join(str(error).split())


_RULES: dict[str, _Rule] = {
    r"Could not find '(?P<name>[^']*)'(?:.*?Available options in '[^']*':(?P<options>(?:\n\t[^\n]*)*))?": (
        _no_such_choice
    ),
    r"Expected more than 1 value per channel when training": lambda match, _: (
        "data.batch_size: batch normalisation cannot train on a single value per channel; use a larger batch."
    ),
    r"No trials are completed yet": lambda match, _: (
        "The search found nothing: each of its trials failed, for the reasons above."
    ),
    r"Cannot find primary config '(?P<name>[^']*)'": lambda match, _: (
        f"--config-name: there is no file {match['name']}.yaml in {CONF}."
    ),
    r"Could not override '(?P<key>[^']*)'": _no_such_key,
    r"Could not append to config. An item is already at '(?P<key>[^']*)'": lambda match, _: (
        f"{match['key']}: exists already; type {match['key']}=… without the +."
    ),
    r"Could not delete from config. '(?P<key>[^']*)' does not exist": _no_such_key,
    r"The value of '(?P<key>[^']*)' is (?P<value>.*) and not": lambda match, _: (
        f"{match['key']}: its value is {match['value']}; type ~{match['key']} to delete it whatever its value is."
    ),
    r"Multiple values for (?P<key>\S+)\. To override": lambda match, _: (
        f"{match['key']}: has a choice already; type {match['key']}=… without the +."
    ),
    r"Ambiguous value for argument '(?P<key>[^=]*)=(?P<value>[^']*)'": lambda match, _: (
        f"{match['key']}: got several values, {match['value']}; to run each of them add -m, "
        f"for a list type '{match['key']}=[{match['value']}]'."
    ),
    r"Sweep parameters '(?P<text>[^']*)' requires": lambda match, _: (
        f"{match['text']}: stands for several values; to run each of them add -m."
    ),
    r"Only one of --run, --multirun, --cfg": lambda match, _: (
        "--cfg shows the configuration of a single run: leave out -m, and name one choice for each group."
    ),
    r"Sweeping over Hydra's configuration is not supported : '(?P<text>[^']*)'": lambda match, _: (
        f"{match['text']}: hydra's own keys take a single value."
    ),
    r"Config group override must be a string or a list": lambda match, _: (
        "A config group (data, model, trainer, …) needs the name of a choice, not null or a number; "
        "to leave a group out type ~group."
    ),
    r"Error merging override (?P<text>.*)": lambda match, error: (
        f"{match['text']}: {str(getattr(error.__cause__, 'msg', error)).splitlines()[0]}."
    ),
    r"(?P<hint>.*)\nSee https://hydra.cc/docs/[^ ]*/override_grammar": lambda match, error: (
        f"{getattr(error, 'override', '')}: cannot be read as key=value; quote special characters twice, "
        f"as in 'key=\"a b, c\"'. Hydra says: {_last_line(match['hint'])}."
    ),
}


def _last_line(text: str) -> str:
    return text.splitlines()[-1].strip(" ^") or "unexpected character"


def like(key: str) -> list[str]:
    """The keys and groups of the default config most like `key`; the last part of a key counts most."""
    last = key.rpartition(".")[2]

    def likeness(known: str) -> float:
        whole = SequenceMatcher(None, key, known).ratio()
        end = 0.9 * SequenceMatcher(None, last, known.rpartition(".")[2]).ratio() + 0.1 * whole
        return max(whole, end - 0.05 * abs(key.count(".") - known.count(".")))

    others = (known for known in _keys(_defaults(), "") if not key.startswith(f"{known}."))
    ranked = sorted(((likeness(known), known) for known in others), reverse=True)
    best = ranked[0][0] if ranked else 0.0
    return [known for score, known in ranked[:2] if score > 0.75 and score > best - 0.1]


def _keys(node: DictConfig, prefix: str) -> Iterator[str]:
    for name in map(str, node):
        key = f"{prefix}{name}"
        yield key
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_interpolation() and not child._is_missing():
            yield from _keys(child, f"{key}.")


def _defaults() -> DictConfig:
    """The configuration without any override: its keys are those a user may have meant."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            defaults = compose("config")
    except (HydraException, OmegaConfBaseException, OSError):
        return OmegaConf.create()
    OmegaConf.update(defaults, "experiment", None, force_add=True)  # a group without a default
    return defaults
