"""Print the decoding of a detector's outputs as C: `<name>_detect()`."""

from __future__ import annotations

from dataclasses import dataclass

from nested_keras.codegen import ctext
from nested_keras.codegen.templating import fill
from nested_keras.codegen.weights_file import ExternalConstants
from nested_keras.detection.decoding import Decoder

CANDIDATE_BYTES = 8
"""Of the scratch memory of nk_detection_s8() for each candidate."""


@dataclass(frozen=True)
class DetectionSource:
    """The printed decoding.

    Attributes:
        macros: Text for the macros of <name>.h.
        declaration: Of the function, with its comment.
        declaration_in: Of the function that works in memory of the caller.
        function: Text of both for <name>.c.
    """

    macros: str
    declaration: str
    declaration_in: str
    function: str


def print_detection(decoder: Decoder, name: str, constants: ctext.Constants) -> DetectionSource:
    """Prints the decoding.

    Args:
        decoder: The decoder.
        name: Prefix of the public names.
        constants: Receives the anchors and the tables.

    Returns:
        The texts.
    """
    parameters = [
        *("const int8_t *boxes", "const int8_t *scores"),
        *("nk_detection *detections", "int32_t *count"),
    ]
    head = _head(f"{name}_detect", parameters)
    head_in = _head(f"{name}_detect_in", ["void *scratch", "size_t scratch_size", *parameters])
    upper = name.upper()
    macros = f"""\
/* The detector. {upper}_DETECT_SCRATCH_SIZE are the bytes of working memory beside the arena. */
#define {upper}_ANCHORS {len(decoder.anchors)}
#define {upper}_CLASSES {decoder.classes}
#define {upper}_MAX_BOXES {decoder.max_boxes}
#define {upper}_DETECT_SCRATCH_SIZE {decoder.max_candidates * CANDIDATE_BYTES}"""
    declaration = f"""\
/* Finds the boxes in the outputs of {name}_invoke(). `detections` has room for {upper}_MAX_BOXES
 * boxes, `count` receives their number; the highest score comes first (nk_detection.h). Not
 * reentrant. Returns NK_OK, or NK_ERROR_ARGUMENT for a null pointer. */
{head};"""
    declaration_in = f"""\
/* {name}_detect() in memory of the caller: {upper}_DETECT_SCRATCH_SIZE bytes at a multiple of 4.
 * NK_ERROR_BUFFER: the memory is missing, misaligned or too small. */
{head_in};"""
    functions = _functions(decoder, name, constants, head, head_in)
    return DetectionSource(macros, declaration, declaration_in, functions)


def _functions(
    decoder: Decoder, name: str, constants: ctext.Constants, head: str, head_in: str
) -> str:
    """Prints the two functions that the heads declare."""
    tables = {
        table: constants.add(f"detect_{table}", values)
        for table, values in (
            ("anchors", decoder.anchors),
            ("exp_table", decoder.exp_table),
            ("size_table", decoder.size_table),
        )
    }
    call_in = ctext.call(
        f"{name}_detect_in",
        ["scratch", "sizeof scratch", "boxes", "scores", "detections", "count"],
        prefix="return ",
    ).lstrip()  # the template indents the call
    functions = fill(
        "codegen",
        "detect.c",
        upper=name.upper(),
        head=head,
        head_in=head_in,
        call_in=call_in,
        anchor_table=tables["anchors"],
        exp_table=tables["exp_table"],
        size_table=tables["size_table"],
        storage=constants.storage,
        offset=constants.number(decoder.offset),
        multiplier=constants.number(decoder.multiplier),
        shift=constants.number(decoder.shift),
        score_threshold=decoder.score_threshold,
        iou_threshold=decoder.iou_threshold,
        max_candidates=decoder.max_candidates,
    )
    if isinstance(constants, ExternalConstants):
        guard = "  if (weights == NULL) {\n    return NK_ERROR_ARGUMENT;\n  }\n"
        functions = functions.replace(" {\n", " {\n" + guard, 1)
    return functions


def _head(function: str, parameters: list[str]) -> str:
    return ctext.call(function, parameters, prefix="nk_status ", indent="", tail="")
