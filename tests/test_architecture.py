"""The house: which way imports run, how large files are, and that the method stands alone."""

import ast
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    ("errors", "files", "palette", "seeds"),
    ("multisampling",),
    ("models", "data"),
    ("config",),
    ("runs",),
    ("training",),
    ("evaluation", "benchmark"),
    ("report", "figures"),
    ("cli",),
)
"""The rooms of ccnn/, from the ground up. A room imports rooms of lower floors alone."""

FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted((ROOT / "ccnn").rglob("*.py"))


def name_of(path: Path) -> str:
    """The dotted name of a module, of a package without its `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES}


def imports(path: Path, types: bool = True) -> Iterator[str]:
    """The modules that a file imports, as absolute names; with `types`, also those that only mypy imports."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not types:
        tree.body = [node for node in tree.body if not _is_for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            base = ".".join(filter(None, [start, node.module]))
            # `from package import module` imports the module; any other name imports the package itself.
            yield from (f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room_of(module: str) -> str:
    """The folder or single file of ccnn/ that a module belongs to; empty for ccnn itself."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_room_imports_lower_floors_alone(path: Path) -> None:
    room = room_of(name_of(path))
    for module in imports(path):
        if module.split(".")[0] == "scripts":
            pytest.fail(f"{name_of(path)} imports {module}: nothing in ccnn/ imports scripts/")
        other = room_of(module) if module.split(".")[0] == "ccnn" else ""
        if room and other and room != other:
            assert FLOOR[other] < FLOOR[room], f"{name_of(path)} imports {module}"


def test_the_method_imports_torch_alone() -> None:
    for path in (ROOT / "ccnn/multisampling").rglob("*.py"):
        outside = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names)
        assert outside <= {"ccnn", "torch", "rich"}, path
        assert all(
            module.startswith("ccnn.multisampling") for module in imports(path) if module.startswith("ccnn")
        )


def test_only_the_entry_points_import_cli() -> None:
    users = {
        name_of(path) for path in SOURCES if any(room_of(m) == "cli" for m in imports(path) if m[:5] == "ccnn.")
    }
    assert {room_of(user) for user in users} <= {"cli"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {m for m in imports(path, types=False) if m in MODULES and m != name}
        for name, path in MODULES.items()
    }
    # A package that names its modules for its users is not a step in a circle.
    graph = {name: targets for name, targets in graph.items() if MODULES[name].name != "__init__.py"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' → '.join(error.args[1])}")


def test_no_file_is_above_300_lines() -> None:
    files = [*SOURCES, *(ROOT / "scripts").rglob("*.py"), ROOT / "train.py"]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {path: count for path, count in lines.items() if count > 300}


def test_the_method_works_as_a_folder_of_another_project(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ccnn/multisampling", tmp_path / "borrowed")
    program = """
        import sys

        sys.modules["ccnn"] = None  # makes an import of it fail
        sys.modules["rich"] = None  # only summary() needs it
        import borrowed, torch, torchvision

        model = borrowed.convert(torchvision.models.resnet18(weights=None), (3, 32, 32), "lattice")
        print(borrowed.conversion_report(model).submaps, *model(torch.zeros(2, 3, 32, 32)).shape)
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["32", "2", "1000"], done.stderr
