"""The parser of `nested-keras`, and the exit status of a command."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging as standard_logging
import sys
from collections.abc import Sequence

from absl import app, flags, logging
from absl.flags import argparse_flags

from nested_keras import extras
from nested_keras.cli import (
    arguments,
    bench_command,
    codegen_command,
    demo_command,
    export_command,
    firmware_command,
    inspect_command,
    run_command,
    strip_command,
    train_command,
)
from nested_keras.cli.terminal import Terminal, ends_where_unread
from nested_keras.devices import process

_COMMANDS = (
    demo_command,
    train_command,
    export_command,
    inspect_command,
    run_command,
    codegen_command,
    firmware_command,
    strip_command,
    bench_command,
)

_DESCRIPTION = """Nested sparse convnets: one set of weights, N levels, a knob at run time.

Typical way through:
  nested-keras train   --model base.keras --data data.npz --out nested.keras
  nested-keras export  nested.keras --data data.npz --out model.tflite
  nested-keras inspect model.tflite
  nested-keras run     model.tflite --target qemu --data data.npz --limit 50
  nested-keras codegen model.tflite --out firmware/model

`--data` takes a .npz archive, a folder of images in class folders, a .csv, or
a folder that tf.data.Dataset.save wrote (`nested-keras train --help`). In a
.npz, `train` reads x_train, y_train, x_test, y_test; `export` reads x_train;
`run` reads x_test and, for the accuracy, y_test. Images are [n, height, width,
channels] as the Keras model takes them; labels are class indices.
"""


def parser() -> argparse_flags.ArgumentParser:
    """Returns the parser of all commands."""
    root = argparse_flags.ArgumentParser(
        prog="nested-keras",
        description=_DESCRIPTION,
        # Because argparse would take --run of a command for a short form of absl's --run_with_pdb.
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument(
        "--version",
        action="version",
        version=f"nested-keras {importlib.metadata.version('nested_keras')}",
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return root


def terminal_of(args: argparse.Namespace) -> Terminal:
    """Returns the terminal that a command prints to, by its flags."""
    json_to_stdout = getattr(args, "json", None) == arguments.STDOUT
    return Terminal(quiet=getattr(args, "quiet", False), json_to_stdout=json_to_stdout)


def _execute(args: argparse.Namespace) -> int:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
        # TensorFlow warns of our code, such as a function that is traced anew for another level.
        standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)
    try:
        with process.signals_raise(), terminal_of(args) as args.terminal:
            status: int | None = args.action(args)
    except ModuleNotFoundError as error:
        # Training and export need packages that `run` does not need.
        extra = "demo" if args.command == "demo" else None
        arguments.complain(str(extras.missing(error, f"nested-keras {args.command}", extra=extra)))
        return 1
    except BrokenPipeError:
        raise  # to `main`
    except KeyboardInterrupt:
        arguments.complain("stopped")
        return 130  # the status that a shell reports after Ctrl-C
    except MemoryError as error:
        # NumPy's error names the size, Python's own error has no text.
        arguments.complain(f"not enough memory: {str(error) or 'size unknown'}")
        return 1
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        # An error that a user can mend is one line; a traceback is for our own defects.
        arguments.complain(str(error))
        return 1
    return status or 0


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `nested-keras` command.

    Args:
        argv: Program name and arguments; None takes sys.argv.
    """
    with ends_where_unread():
        try:
            app.run(
                _execute,
                argv=list(argv) if argv is not None else None,
                flags_parser=lambda words: parser().parse_args(
                    arguments.dashed(words[1:], keep=flags.FLAGS)
                ),
            )
        finally:
            sys.stdout.flush()
