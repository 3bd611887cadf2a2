"""How far an evaluation is: a bar on a terminal, elsewhere a line for each tenth."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ccnn.training.console import duration


@contextmanager
def watch(total: int) -> Iterator[Callable[[int], None]]:
    """Yields the function to call with the number of images of each batch that is done."""
    console, begun, done = Console(), perf_counter(), 0
    bar = Progress(
        TextColumn("{task.percentage:3.0f} %"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed} of {task.total} images{task.fields[left]}"),
        console=console,
        expand=True,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=total, left="")

    def on_batch(images: int) -> None:
        nonlocal done
        before, done = done, done + images
        left = f", {duration((perf_counter() - begun) / done * (total - done))} left"
        bar.update(task, completed=done, left=left)
        if bar.disable and done * 10 // total > before * 10 // total:
            print(f"{done:,} of {total:,} images{left}", flush=True)

    with bar:
        yield on_batch
