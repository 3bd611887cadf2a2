"""Draws which pixels a sampling method keeps after each step: a PNG side by side, and an animated GIF."""

import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout's ccnn, even where another is installed

from ccnn.cli.arguments import Parser, choice, whole_number
from ccnn.cli.errors import run_command
from ccnn.errors import UserError
from ccnn.figures.methods import N_ROOKS, SHOWN

EXAMPLES = """examples:
  python scripts/visualize.py --im_size 64 --steps 3 --method lattice
  python scripts/visualize.py --im_size 32 --steps 4 --method naive --color
  python scripts/visualize.py --im_size 27 --steps 3 --method n-rooks --size 540
  python scripts/visualize.py --method random --seed 7 --output random.png

A method keeps k of k*k positions at each step of stride k (three_quarters: 3 of 4, complete: all,
traditional and stochastic: one). The smallest distance is that between two samples, in pixels, on a plane
that repeats: of equally many samples, those that lie further apart tell more of an image."""


def parse() -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__, EXAMPLES)
    # fmt: off
    number = whole_number
    parser.add_argument("--im_size", type=number(2, 1024), default=64, metavar="PIXELS",
                        help="height and width of the image that is sampled (default: 64)")
    parser.add_argument("--steps", type=number(1, 10), default=3, metavar="N",
                        help="subsampling layers (default: 3)")
    parser.add_argument("--method", type=choice(SHOWN), default="lattice", metavar="NAME",
                        help=f"sampling method: {', '.join(SHOWN)} (default: lattice)")
    parser.add_argument("--stride", type=number(2, 16), metavar="K",
                        help="of each layer (default: 2; 3 for n_rooks, the lattice of windows of three)")
    parser.add_argument("--color", action="store_true",
                        help="a colour for each submap; more than eight lie on a ramp from dark to light")
    parser.add_argument("--size", type=number(16, 2048), metavar="PIXELS",
                        help="of each panel, at most; pixels become whole squares (default: 384 or --im_size)")
    parser.add_argument("--seed", type=number(0, 2**32 - 1), default=0, metavar="N",
                        help="of what random and stochastic draw (default: 0)")
    parser.add_argument("--output", type=Path, metavar="PATH",
                        help="file or folder; .png or .gif writes only that one (default: "
                        "outputs/figures/METHOD_SIZE_STEPS and all settings that are not the default)")
    # fmt: on
    arguments = parser.parse_args()
    stride, panel = 3 if arguments.method == N_ROOKS else 2, max(384, arguments.im_size)
    defaults = {"stride": stride, "size": panel, "seed": 0, "color": False}
    arguments.stride, arguments.size = arguments.stride or stride, arguments.size or panel
    side, size = arguments.stride**arguments.steps, arguments.im_size
    if side > size:
        most = max(n for n in range(10) if arguments.stride**n <= size)
        fewer = f"--steps {most} at most, or " if most else ""
        parser.error(
            f"--steps: {arguments.steps} of stride {arguments.stride} make a pattern {side} pixels wide, which an "
            f"image of --im_size {size} does not show; use {fewer}--im_size {side} at least"
        )
    if arguments.size < size:
        parser.error(f"--size: got {arguments.size}, expected at least {size}, the --im_size; enlarge it")
    name = f"{arguments.method}_{size}_{arguments.steps}"
    for key, default in defaults.items():  # whatever makes another picture is in its name
        if (value := getattr(arguments, key)) != default:
            name += f"_{key}" if value is True else f"_{key}{value}"
    arguments.output = arguments.output or Path("outputs/figures") / name
    if arguments.output.is_dir():
        arguments.output /= name
    if arguments.output.suffix not in ("", ".png", ".gif"):
        parser.error(f"--output: got {str(arguments.output)!r}, expected a name ending in .png, .gif or neither")
    return arguments


def main() -> None:
    """Draws what the command line says and prints where it is."""
    arguments = parse()
    # These take a second, so only for a valid command line.
    from ccnn.figures.figures import side_by_side, write_animation
    from ccnn.figures.methods import steps_of
    from ccnn.figures.pattern_panels import caption
    from ccnn.figures.patterns import patterns
    from ccnn.figures.picture_files import write_png

    try:
        shown = patterns(steps_of(arguments.method, [arguments.stride] * arguments.steps, arguments.seed))
    except ValueError as error:
        raise UserError(f"--stride: {error}; use --stride 2.") from error
    title = f"{arguments.method}, stride {arguments.stride}"
    settings = (arguments.im_size, arguments.size // arguments.im_size, arguments.color, title)
    paths = [arguments.output.with_suffix(end) for end in (".png", ".gif") if arguments.output.suffix in ("", end)]
    for path in paths:
        if path.suffix == ".png":
            write_png(side_by_side(shown[1:], *settings), path)
        else:
            write_animation(shown, *settings, path)
    for pattern in shown[1:]:
        print(caption(pattern, arguments.color).replace("\n", ", "))
    print("Written:", *paths)


if __name__ == "__main__":
    run_command(main)
