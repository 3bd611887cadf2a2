"""The sweeps of the paper's tables hold exactly the tables' cells."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from experiments import Compose
from omegaconf import DictConfig, OmegaConf
from small_networks import NAMED

from ccnn.config import CONF, validate
from ccnn.report.paper import TABLES, Column

SWEEPS = sorted(path.stem for path in (CONF / "experiment").glob("table*.yaml"))


def written(name: str) -> Any:
    """What an experiment's file says on top of those that it begins with."""
    own = OmegaConf.load(CONF / f"experiment/{name}.yaml")
    assert isinstance(own, DictConfig)
    return OmegaConf.merge(*(written(base) for base in own.get("defaults", []) if isinstance(base, str)), own)


def sweep(name: str) -> tuple[dict[str, list[str]], list[dict[str, Any]], str]:
    """The axes of a sweep, what it leaves out, and the data set that all its runs have."""
    content: Any = OmegaConf.to_container(written(name))
    axes = {key: str(values).split(",") for key, values in content["hydra"]["sweeper"]["params"].items()}
    axes["convert"] = [value.lower() for value in axes["convert"]]
    chosen = {
        key: value
        for entry in content.get("defaults", [])
        if isinstance(entry, dict)
        for key, value in entry.items()
    }
    return axes, content.get("exclude", []), str(chosen.get("override /data", "digits"))


@pytest.mark.parametrize("name", TABLES)
def test_a_sweep_has_the_published_cells_and_no_other(name: str) -> None:
    axes, left_out, data = sweep(name)
    cells = set()
    for values in product(*axes.values()):
        job = dict(zip(axes, values, strict=True))
        job.setdefault("data", data)
        job.setdefault("data.augment", "standard")
        if not any(all(job[key] == str(value).lower() for key, value in rule.items()) for rule in left_out):
            cells.add((job["model"], Column(job["data"], job["data.augment"]), job["convert"]))
    table = TABLES[name]
    published = {
        (model, column, convert)
        for model in table.errors
        for column in table.columns
        for convert, error in zip(("false", "true"), table.at(model, column) or (None, None), strict=True)
        if error is not None
    }
    assert cells == published
    assert axes["seed"] == ["0", "1", "2"]


@pytest.mark.parametrize("name", SWEEPS)
def test_each_sweep_has_a_folder_of_its_own_and_a_report(name: str, compose: Compose) -> None:
    config = compose(f"experiment={name}", *NAMED.get(name, ()))
    validate(config)
    assert config.sweep == name
    text = (CONF / f"experiment/{name}.yaml").read_text()
    assert f"python train.py -m experiment={name}" in text
    assert name.endswith("_quick") or f"--table {name}" in text


@pytest.mark.parametrize(
    ("name", "cnns", "ccnns"),
    [("study_digits", 1, 6), ("study_fashion_toy", 1, 6), ("study_fashion_resnet", 1, 7)],
)
def test_the_study_trains_each_network_once(name: str, cnns: int, ccnns: int) -> None:
    axes, left_out, _ = sweep(name)
    seeds = len(axes["seed"])
    kept = []
    for values in product(*axes.values()):
        job = dict(zip(axes, values, strict=True))
        if not any(
            all(job[key] in [str(each).lower() for each in np.atleast_1d(value)] for key, value in rule.items())
            for rule in left_out
        ):
            kept.append(job)
    assert [sum(job["convert"] == text for job in kept) for text in ("false", "true")] == [
        seeds * cnns,
        seeds * ccnns,
    ]


@pytest.mark.parametrize("name", ["study_digits", "study_fashion_toy", "study_fashion_resnet"])
def test_the_longer_part_of_the_study_joins_it(name: str, compose: Compose) -> None:
    part, longer = compose(f"experiment={name}"), compose(f"experiment={name}_longer")
    validate(part)
    validate(longer)
    assert part.sweep == longer.sweep == name
    assert part == longer
