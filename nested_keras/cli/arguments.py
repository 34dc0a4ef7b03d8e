"""The part that the commands share: flags, types of arguments, printed tables and errors."""

from __future__ import annotations

import argparse
import json
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import nested_keras
from nested_keras import files
from nested_keras.cortex_m.cycles import CORES
from nested_keras.firmware import RUNTIMES
from nested_keras.report import format_table
from nested_keras.typing import Json, Subparsers

STDOUT = Path("-")

_WIDTH = 79


def add_command(
    commands: Subparsers,
    name: str,
    action: Callable[[argparse.Namespace], int | None] | None,
    summary: str,
    details: str,
) -> argparse.ArgumentParser:
    """Adds a command to the parser of `nested-keras`.

    Args:
        commands: The subparsers of the main parser.
        name: The name of the command.
        action: Runs the command and returns its exit status, or None for 0. No action where the
            commands below this command have actions.
        summary: One line, shown in the list of commands.
        details: The rest of the text of `--help`.

    Returns:
        The command's own parser.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description="\n\n".join(_filled(text) for text in (summary, *details.split("\n\n"))),
        epilog=f"The files docs/... and benchmarks/... lie in\n{documents()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(action=action)
    add_quiet(parser)
    return parser


def _filled(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), _WIDTH)


def documents() -> Path:
    """Returns the folder of docs/ and benchmarks/: the checkout, or the folder of pip."""
    checkout = Path(nested_keras.__file__).resolve().parent.parent
    if (checkout / "docs" / "training.md").is_file():
        return checkout
    return Path(sysconfig.get_path("data")) / "share" / "doc" / "nested_keras"


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --quiet, also to the benchmarks below the command `bench`."""
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print results and errors only",
    )


def dashed(argv: Sequence[str], *, keep: Container[str] = ()) -> list[str]:
    """Returns the arguments of a command line with dashes in the names of its flags.

    `--batch_size`, the old spelling, is therefore an alias of `--batch-size`.

    Args:
        argv: The arguments, without the name of the program.
        keep: Names of flags that keep their underscores, such as the flags of absl.
    """
    found = list(argv)
    for index, argument in enumerate(found):
        if argument == "--":  # only positional arguments follow
            break
        name, equals, value = argument.partition("=")
        plain = name.removeprefix("--")
        if name.startswith("--") and plain not in keep and plain.removeprefix("no") not in keep:
            found[index] = name.replace("_", "-") + equals + value
    return found


def add_model(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds the argument MODEL."""
    parser.add_argument("model", metavar="MODEL", type=Path, help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --json."""
    parser.add_argument(
        "--json",
        type=Path,
        default=None,
        metavar="FILE",
        help="write the results to this file; - for standard output",
    )


def require_json(path: Path | None) -> None:
    """Checks that the file of --json can be written, before the work begins."""
    if path is not None and path != STDOUT:
        files.require_writable(path)


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --runtime."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="standalone",
        help="the runtime on a device: generated C (default) or TFLite Micro",
    )


def add_board(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Adds the flags --board and --board-dir, of which a command takes one."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(
        "--board",
        metavar="NAME",
        help="a board of this package: mps2_an385 (Cortex-M3), mps2_an386 (M4), mps2_an500 (M7), "
        "mps2_an505 (M33), mps3_an547 (M55) or nucleo_f767zi (M7)",
    )
    group.add_argument(
        "--board-dir",
        type=Path,
        default=None,
        metavar="DIR",
        help="the folder of a board of your own (docs/adding_a_board.md)",
    )


def add_core(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --core."""
    parser.add_argument(
        "--core",
        choices=CORES,
        default=CORES[0],
        help="the Cortex-M whose cycles are modelled; default %(default)s",
    )


def fractions(text: str) -> tuple[float, ...]:
    """Reads comma-separated fractions such as 0.9,0.8,0.7."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected comma-separated fractions such as 0.9,0.8,0.7: got {text!r}"
        ) from None


def block_shape(text: str) -> tuple[int, int]:
    """Reads a block shape such as 1x4."""
    shapes = {"1x1": (1, 1), "1x2": (1, 2), "1x4": (1, 4)}
    if text not in shapes:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(shapes)}: got {text!r}")
    return shapes[text]


def positive(text: str) -> int:
    """Reads a whole number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more: got {text!r}")
    return int(text)


def write_json(args: argparse.Namespace, value: Json) -> None:
    """Writes results to the file of --json, if given; `require_json` has checked the file."""
    if args.json == STDOUT:
        args.terminal.json(json.dumps(value, indent=2))
    elif args.json is not None:
        files.write_text(args.json, json.dumps(value, indent=2) + "\n")
        args.terminal.note(f"Wrote {args.json}")


def complain(text: str) -> None:
    """Prints an error in one line, without the line breaks of its text."""
    print(f"nested-keras: error: {' '.join(text.split())}", file=sys.stderr, flush=True)


def level_table(content: bytes) -> str:
    """Returns a table of the zeros, weights and bytes of each level of a .tflite."""
    from nested_keras import report

    rows = [
        [str(size.level), f"{size.sparsity:.3f}", f"{size.nnz:,}", f"{size.weight_bytes:,}"]
        for size in report.level_sizes(content)
    ]
    return format_table(["level", "zeros, all layers", "nonzeros", "weight bytes"], rows)
