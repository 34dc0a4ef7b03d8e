"""Print the C around the weights: the check of compiled weights, or the opening of a file."""

from __future__ import annotations

from collections.abc import Sequence

from nested_keras.codegen import ctext
from nested_keras.codegen.operator_calls import OpCode
from nested_keras.codegen.templating import fill
from nested_keras.codegen.weights_file import ExternalConstants
from nested_keras.tflite import program as ir

_DIGEST_PLACE = ",".join(["0"] * 32)  # for the digest of the text, which is known at the end


_ENDS = (("float", "scale"), ("int32_t", "zero_point"))


def declaration_of_check(name: str) -> str:
    """The declaration of the function that checks compiled weights, for <name>.h."""
    return f"""\
/* Verifies the checksums and every table of the packed weights. Call this function once at start-up
 * if the memory of the weights may be damaged. Returns NK_OK or the first error. */
nk_status {name}_check(void);"""


def declarations(name: str, labels: Sequence[str]) -> str:
    """The declarations of the functions that open weights, for <name>.h.

    Args:
        name: Prefix of the public names.
        labels: Names of the inputs and outputs that have a scale.
    """
    text = f"""\
/* Opens a file of weights, {name}_weights.bin, and keeps the pointer: the memory stays in use until
 * the next call that succeeds. Call this function before {name}_invoke(), and never while another
 * function runs.
 *
 * `file` lies at a multiple of {name.upper()}_WEIGHTS_ALIGNMENT bytes. `size` counts the bytes
 * that may be read there, which may be more than the file has. The call verifies checksums and
 * tables.
 *
 * Returns NK_OK; NK_ERROR_ARGUMENT for a null or misaligned pointer; NK_ERROR_FOREIGN for other
 * data or weights of another model; NK_ERROR_TRUNCATED, NK_ERROR_CHECKSUM, NK_ERROR_VERSION,
 * NK_ERROR_MALFORMED or NK_ERROR_LEVEL for a damaged file. After an error the file opened before
 * stays in use. */
nk_status {name}_open(const void *file, size_t size);

/* Verifies the opened file again. Returns NK_OK or the first error, NK_ERROR_ARGUMENT if no file is
 * open. */
nk_status {name}_check(void);"""
    if not labels:
        return text
    comment = "/* Quantisation of the opened weights; 0 if no file is open. */"
    heads = [f"{head};" for label in labels for head in _heads(name, label)]
    return "\n".join([text, "", comment, *heads])


def quantisation_macros(name: str, label: str) -> list[str]:
    """The macros of the scale and the zero point of an input or output."""
    prefix = f"{name}_{label}".upper()
    return [f"#define {prefix}_{end.upper()} {name}_{label}_{end}()" for _, end in _ENDS]


def quantisation(
    name: str, ends: Sequence[tuple[str, ir.Tensor]], constants: ExternalConstants
) -> list[str]:
    """The functions that give the scale and the zero point of each input and output."""
    functions = []
    for label, tensor in ends:
        numbers = (float(tensor.scale), int(tensor.zero_point))
        for head, number in zip(_heads(name, label), numbers, strict=True):
            value = constants.number(number)
            functions.append(f"{head} {{ return weights == NULL ? 0 : {value}; }}\n")
    return functions


def _heads(name: str, label: str) -> list[str]:
    return [f"{kind} {name}_{label}_{end}(void)" for kind, end in _ENDS]


def check_of_streams(name: str, codes: Sequence[OpCode], levels: str, check: str) -> str:
    """The function <name>_check() of compiled weights; `check` checks one stream."""
    rows = {
        code.stream: f"      {{{code.stream}, sizeof {code.stream}, {_levels(code, levels)}}},"
        for code in codes
        if code.stream is not None
    }
    if not rows:
        return f"nk_status {name}_check(void) {{ return NK_OK; }}\n"
    one = fill("codegen", "check_stream.c", check=check)
    return one + "\n" + fill("codegen", "check.c", name=name, streams="\n".join(rows.values()))


def opening(
    name: str, codes: Sequence[OpCode], levels: str, constants: ExternalConstants, *, check: str
) -> str:
    """The functions <name>_open() and <name>_check() of weights in a file."""
    streams = {constants.index_of(code.stream): code for code in codes if code.stream is not None}
    sizes = [
        0 if index in streams else array.nbytes
        for index, array in enumerate(constants.all_arrays())
    ]
    parts = [
        fill(
            "codegen",
            "check_file.c",
            digest=f"{_DIGEST_PLACE}\n",
            sizes=ctext.lines_of([str(size) for size in sizes]),
        )
    ]
    if streams:
        rows = [
            f"      {{{index}, {_levels(code, levels)}, {{{','.join(map(str, code.header))}}}}},"
            for index, code in streams.items()
        ]
        (length,) = {len(code.header) for code in streams.values()}
        parts.append(fill("codegen", "check_stream.c", check=check))
        parts.append(
            fill("codegen", "check_streams.c", header_bytes=length, streams="\n".join(rows))
        )
    checked = "status == NK_OK ? check_streams(file) : status" if streams else "status"
    parts.append(f"""\
static nk_status check_weights(const uint8_t *file, size_t size) {{
  const nk_status status = check_file(file, size);
  return {checked};
}}
""")
    parts.append(f"""\
nk_status {name}_open(const void *file, size_t size) {{
  const nk_status status = check_weights(file, size);
  if (status == NK_OK) {{
    weights = file;
    weights_size = size;
  }}
  return status;
}}
""")
    parts.append(
        f"nk_status {name}_check(void) {{ return check_weights(weights, weights_size); }}\n"
    )
    return "\n".join(parts)


def with_digest(source: str, digest: bytes) -> str:
    """The source with the digest of the text in its place."""
    return source.replace(_DIGEST_PLACE, ",".join(map(str, digest)), 1)


def _levels(code: OpCode, levels: str) -> str:
    """C text of the number of levels of a stream."""
    return levels if code.takes_level else "1"
