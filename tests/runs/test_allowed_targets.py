"""A folder from somebody else runs nothing but what conf/ and the user name."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from evaluations import evaluation_of
from experiments import Compose
from omegaconf import OmegaConf

from ccnn.config.targets import validate_targets
from ccnn.errors import UserError
from ccnn.runs.allowed_targets import check_targets, needs_trust
from ccnn.runs.folder import MOVED, saved_config
from ccnn.runs.resuming import find_start

MARK = "executed"


@pytest.fixture
def folder(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with its configuration, as anyone could have written it."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    OmegaConf.save(compose("trainer=cpu", f"output_dir={run}"), run / "config.yaml", resolve=True)
    return run


def change(folder: Path, key: str, value: Any) -> None:
    """Sets a key of the saved configuration as a text editor would; `a.b` is nested."""
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    node = config
    *outer, last = key.split(".")
    for name in outer:
        node = node.setdefault(name, {})
    node[last] = value
    path.write_text(yaml.safe_dump(config))


def remove(folder: Path, key: str) -> None:
    """Removes a top-level key, which an older version did not write."""
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config[key]
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def resume(folder: Path, compose: Compose, *overrides: str) -> Any:
    start = find_start(compose(f"resume={folder}", *overrides), folder / "new", (f"resume={folder}",), sweep=False)
    start.lock.release()
    return start


MKDIR = {"_target_": "os.mkdir", "path": MARK}
BOMB = {"_target_": "timm.models.load_state_dict", "checkpoint_path": "bomb.pth", "weights_only": False}
WAYS_IN = {
    "a callback": ("callbacks.throughput", MKDIR, "callbacks.throughput._target_ is 'os.mkdir'"),
    "a new callback": ("callbacks.mine", MKDIR, "callbacks.mine._target_"),
    "a logger": ("logger.mine", MKDIR, "logger.mine._target_"),
    "the model": ("model", MKDIR, "model._target_"),
    "the data": ("data._target_", "torchvision.datasets.utils.download_and_extract_archive", "data._target_"),
    "the optimizer": ("optimizer._target_", "os.system", "optimizer._target_"),
    "the schedule": ("scheduler._target_", "builtins.eval", "scheduler._target_"),
    "the sampling": ("sampling._target_", "builtins.exec", "sampling._target_"),
    "the trainer": ("trainer._target_", "subprocess.run", "trainer._target_"),
    "an argument": ("model.dropout", MKDIR, "model.dropout._target_"),
    "an argument of the trainer": ("trainer.plugins", MKDIR, "trainer.plugins._target_"),
    "a list": ("trainer.plugins", [MKDIR], "trainer.plugins[0]._target_"),
    "positional arguments": (
        "model",
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU"}, BOMB]},
        "model._args_[1]._target_ is 'timm.models.load_state_dict'",
    ),
    "a list in a list": ("data.mean", [[0.5, [MKDIR]]], "data.mean[0][1][0]._target_"),
    "a mapping in a list": ("exclude", [{"a": {"b": MKDIR}}], "exclude[0].a.b._target_"),
    "a part of a layer": ("model", {"_target_": "torch.nn.Sequential", "x": MKDIR}, "model.x._target_"),
    "a partial": ("optimizer", {"_partial_": True, **MKDIR}, "optimizer._target_"),
    "what a package imports": ("model._target_", "torch.nn.init.torch.os.mkdir", "model._target_"),
    "what a module of callbacks imports": (
        "callbacks.throughput._target_",
        "pytorch_lightning.callbacks.callback.Any",
        "callbacks.throughput._target_",
    ),
    "a function of torch.nn": ("model._target_", "torch.nn.utils.skip_init", "model._target_"),
    "a hub": ("model._target_", "torch.hub.load", "model._target_"),
    "a writer": ("callbacks.throughput._target_", "torchvision.io.write_file", "callbacks.throughput._target_"),
    "a part of ccnn": ("callbacks.throughput._target_", "ccnn.runs.folder.clear", "callbacks.throughput._target_"),
    "Hydra's own helpers": ("model._target_", "hydra.utils.get_object", "model._target_"),
    "a launcher": (
        "callbacks.throughput._target_",
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "callbacks.throughput._target_",
    ),
    "no text": ("model._target_", ["os.mkdir"], "model._target_ is"),
    "a class that does not exist": ("model._target_", "torch.nn.Nothing", "model._target_"),
    "a moved name": ("model._target_", "ccnn.callbacks", "model._target_"),
    "a resolver": ("model.dropout", "${oc.env:HOME}", "model.dropout is '${oc.env:HOME}', an interpolation"),
    "a resolver in a list": ("data.mean", ["${oc.create:x}"], "data.mean[0] is"),
    "an interpolated target": ("model._target_", "${data.name}", "model._target_ is '${data.name}'"),
    "other files": ("defaults", [{"model": "evil"}, "_self_"], "has the key defaults"),
    "a search path": ("hydra", {"searchpath": ["file://."]}, "has the key hydra"),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_foreign_folder_cannot_run_code(way: str, folder: Path, compose: Compose) -> None:
    key, value, message = WAYS_IN[way]
    (folder / "evil.yaml").write_text("_target_: os.mkdir\npath: executed\n")
    change(folder, key, value)
    with pytest.raises(UserError) as caught:
        resume(folder, compose)
    assert str(caught.value).startswith("resume: ")
    assert message in str(caught.value)
    assert not list(folder.parent.rglob(MARK))
    if key.partition(".")[0] in ("model", "data", "sampling", "defaults", "hydra"):
        with pytest.raises(UserError, match=r"^run: "):
            evaluation_of(f"run={folder}")


def test_a_foreign_folder_cannot_unpickle(folder: Path, compose: Compose) -> None:
    """timm unpickles whatever it is pointed at."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.mkdir, (Path(MARK),)

    Path("bomb.pth").write_bytes(pickle.dumps(Bomb()))
    change(folder, "model", BOMB | {"name": "x", "use_ema": True})
    for attempt in (lambda: resume(folder, compose), lambda: evaluation_of(f"run={folder}")):
        with pytest.raises(UserError, match=r"model\._target_ is 'timm\.models\.load_state_dict'.*trust=true"):
            attempt()
    assert not Path(MARK).exists()


def test_every_problem_is_listed(folder: Path, compose: Compose) -> None:
    change(folder, "callbacks.one", MKDIR)
    change(folder, "callbacks.two", [MKDIR])
    with pytest.raises(UserError) as caught:
        resume(folder, compose)
    assert len(str(caught.value).splitlines()) == 2


def test_trust_is_for_the_command_line_to_give(folder: Path, compose: Compose) -> None:
    change(folder, "logger.mine", MKDIR)
    change(folder, "trust", True)
    with pytest.raises(UserError, match=r"logger\.mine\._target_"):
        resume(folder, compose)
    assert resume(folder, compose, "trust=true").config.logger.mine._target_ == "os.mkdir"


def test_what_the_command_line_names_is_allowed(folder: Path, compose: Compose) -> None:
    change(folder, "logger.mine", MKDIR)
    resume(folder, compose, "+logger.mine._target_=os.mkdir")


@pytest.mark.parametrize(
    "target",
    ["torch.optim.RMSprop", "torch.optim.lr_scheduler.StepLR", "torch.nn.GELU", "ccnn.models.Toy",
     "pytorch_lightning.callbacks.EarlyStopping"],
)  # fmt: skip
def test_the_usual_is_built_unasked(target: str) -> None:
    config = {"part": [{"_target_": target}]}
    check_targets("resume", config)
    assert not needs_trust(config)


def test_the_configuration_of_conf_needs_no_trust(compose: Compose) -> None:
    config = OmegaConf.to_container(compose(), resolve=True)
    assert not needs_trust(config)


def test_a_run_from_before_the_move_resumes_and_evaluates(folder: Path, compose: Compose) -> None:
    new = {after: before for before, after in MOVED.items()}
    path = folder / "config.yaml"
    text = path.read_text()
    for after, before in new.items():
        text = text.replace(f"_target_: {after}\n", f"_target_: {before}\n")
    path.write_text(text)
    for younger in ("trust", "loss"):
        remove(folder, younger)
    assert "ccnn.progress.Progress" in path.read_text()
    assert "ccnn.schedulers.multistep" in path.read_text()
    config = resume(folder, compose).config
    assert config.callbacks.throughput._target_ == "ccnn.training.callbacks.Throughput"
    validate_targets(config)
    assert not needs_trust(OmegaConf.to_container(saved_config("resume", folder)))
    evaluation_of(f"run={folder}")
