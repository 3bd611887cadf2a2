"""Scripts run from a checkout use that checkout's ccnn, even where another one is installed."""

import os
import runpy
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [path for path in sorted((ROOT / "scripts").glob("*.py")) if "ccnn" in path.read_text(encoding="utf-8")]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with another ccnn, whose import ends the program."""
    (tmp_path / "ccnn").mkdir()
    (tmp_path / "ccnn/__init__.py").write_text("raise SystemExit('the installed ccnn')")
    return tmp_path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_checkout_is_first_when_ccnn_is_imported(
    script: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(installed), *(path for path in sys.path if path != str(ROOT))])
    # None makes Python raise at the first import of ccnn, where sys.path is what counts.
    for name in [name for name in sys.modules if name.partition(".")[0] == "ccnn"] + ["ccnn"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match="ccnn"):
        runpy.run_path(str(script))
    spec = PathFinder.find_spec("ccnn", sys.path)
    assert spec is not None
    assert spec.origin == str(ROOT / "ccnn/__init__.py")


def test_a_script_typed_beside_an_installed_ccnn_shows_its_help(installed: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/visualize.py"), "--help"],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
