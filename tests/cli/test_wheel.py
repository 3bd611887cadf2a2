"""The wheel brings the commands and conf/, and works outside the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from ccnn.config import CONF

ROOT = CONF.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip wheel .` does, from a copy: a build leaves its own files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        source, target = ROOT / name, copy / name
        if name.startswith(("ccnn", "conf", "pyproject", "README", "LICENSE")) and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                target.symlink_to(os.readlink(source))
            else:
                target.write_bytes(source.read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "-w", str(folder), str(copy)]
    subprocess.run(command, check=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_every_file_of_conf_and_the_mark_of_typed_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in CONF.rglob("*.yaml"):
        assert f"ccnn/conf/{path.relative_to(CONF)}" in names
    assert "ccnn/py.typed" in names
    distribution = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert {name.split("/")[0] for name in names} == {"ccnn", distribution}


def test_its_commands_train_evaluate_and_report_in_an_environment_of_their_own(
    wheel: Path, tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    (site,) = home.glob("lib/python*/site-packages")
    options = ["--python", str(python), "install", "--quiet", "--no-deps"]
    pip = [sys.executable, "-m", "pip", *options, str(wheel)]
    subprocess.run(pip, check=True, timeout=120)
    # All dependencies are those of this environment; its own ccnn comes later on the path.
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def output_of(*command: str) -> str:
        done = subprocess.run(
            [home / "bin" / command[0], *command[1:]],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert output_of("python", "-c", "import ccnn; print(ccnn.__file__)").strip() == str(site / "ccnn/__init__.py")
    assert "ccnn-train" in output_of("ccnn-train", "--help")
    output_of("ccnn-train", "trainer=cpu", "trainer.max_epochs=1", "callbacks.pictures=null", "hydra.run.dir=run")
    assert "lattice" in output_of(
        "ccnn-evaluate", "run=run", "sampling=lattice", "evaluation.limit=50", "output=out"
    )
    assert (tmp_path / "out/evaluation.json").exists()
    assert "toy" in output_of("ccnn-report", "run")
