"""Print a whole `Program` as C: the model's header, its source and its constants."""

from __future__ import annotations

from dataclasses import dataclass

from nested_keras.codegen import ctext, weights_source
from nested_keras.codegen.detection_source import print_detection
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.operator_calls import OpCode, print_op
from nested_keras.codegen.storage import Home, Place, Storage, plan_storage
from nested_keras.codegen.templating import fill
from nested_keras.codegen.weights_file import ExternalConstants, digest_of
from nested_keras.cortex_m import stack
from nested_keras.detection.decoding import Decoder
from nested_keras.tflite import operators, program as ir

ARENA_ALIGNMENT = 4
"""The arena begins at a multiple of this many bytes: the most that a kernel asks of its scratch
memory, and no more than any malloc() gives."""

WEIGHTS_ALIGNMENT = 4
"""A file of weights begins at a multiple of this many bytes: NK_WEIGHTS_ALIGNMENT."""

_ADDRESS_MACRO = """\
/* The planned place of a tensor or of scratch memory. */
#define AT(offset) ((void *)((int8_t *)arena + (offset)))
"""


@dataclass(frozen=True)
class ModelSource:
    """The printed model.

    Attributes:
        header: Text of <name>.h.
        source: Text of <name>.c.
        data: Text of <name>_data.h; None if a file has the weights.
        weights: Contents of <name>_weights.bin; None if <name>_data.h has the weights.
        kernels: The tflm_ops functions that the source calls.
        example: The arguments of an example call.
        arena_bytes: Size of the arena.
        data_bytes: Size of the constants.
        stack_bytes: Bound of the stack under any function of <name>.h (`cortex_m/stack.py`).
    """

    header: str
    source: str
    data: str | None
    weights: bytes | None
    kernels: tuple[str, ...]
    example: tuple[str, ...]
    arena_bytes: int
    data_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class Sizes:
    """What a generated library takes.

    Attributes:
        arena_bytes: Size of the arena.
        data_bytes: Size of the constants.
        stack_bytes: Bound of the stack under any function of <name>.h (`cortex_m/stack.py`).
    """

    arena_bytes: int
    data_bytes: int
    stack_bytes: int


def sizes_of(program: ir.Program) -> Sizes:
    """Returns the sizes of the library of a program, without printing the library.

    Raises:
        CodegenError: The program holds something that cannot be printed.
    """
    printer = _ModelPrinter(program, "model", "", None, ctext.Constants())
    return Sizes(printer.storage.arena_bytes, printer.data_bytes(), printer.stack_bytes())


def print_model(
    program: ir.Program,
    name: str,
    banner: str,
    decoder: Decoder | None = None,
    *,
    external_weights: bool = False,
) -> ModelSource:
    """Prints a program.

    Args:
        program: The graph.
        name: Prefix of the public names.
        banner: The comment that begins each text.
        decoder: Of a detector, to find boxes in the outputs.
        external_weights: Whether the weights come from a file at run time.

    Returns:
        The texts.

    Raises:
        CodegenError: The program holds something that cannot be printed.
    """
    for tensor in (program.tensors[i] for i in (*program.inputs, *program.outputs)):
        if tensor.dtype not in ("int8", "uint8", "float32"):
            raise CodegenError(
                f"graph input or output {tensor.name!r} is {tensor.dtype}; expected int8, uint8 or "
                "float32"
            )
    constants = ExternalConstants() if external_weights else ctext.Constants()
    return _ModelPrinter(program, name, banner, decoder, constants).print()


class _ModelPrinter:
    """The state that the sections of the texts share."""

    def __init__(
        self,
        program: ir.Program,
        name: str,
        banner: str,
        decoder: Decoder | None,
        constants: ctext.Constants,
    ) -> None:
        self.banner = banner
        self.program = program
        self.name = name
        self.upper = name.upper()
        self.constants = constants
        self.external = constants if isinstance(constants, ExternalConstants) else None
        self.codes: dict[int, OpCode] = {
            index: print_op(program, index, self.constants)
            for index, op in enumerate(program.ops)
            if not isinstance(op, operators.Reshape)
        }
        scratch = [
            self.codes[i].scratch_bytes if i in self.codes else 0 for i in range(len(program.ops))
        ]
        self.storage: Storage = plan_storage(program, scratch)
        self.has_streams = any(code.stream is not None for code in self.codes.values())
        self.input_names = _numbered("input", len(program.inputs))
        self.output_names = _numbered("output", len(program.outputs))
        self.tensor_names = self._add_constant_tensors()
        self.detection = None if decoder is None else print_detection(decoder, name, self.constants)

    def print(self) -> ModelSource:
        kernels = {code.kernel for code in self.codes.values()} | {"nk_status_name"}
        if self.has_streams:
            kernels |= {"nk_stream_open", "nk_stream_validate"}
        if self.detection is not None:
            kernels.add("nk_detection_s8")
        header, source, data, weights = self._header(), self._source(), None, None
        if self.external is None:
            data = self._data()
        else:
            kernels.add("nk_weights_check")
            digest = digest_of(*(text.removeprefix(self.banner) for text in (header, source)))
            source = weights_source.with_digest(source, digest)
            weights = self.external.file(digest)
        return ModelSource(
            header=header,
            source=source,
            data=data,
            weights=weights,
            kernels=tuple(sorted(kernels)),
            example=(*self.input_names, *self.output_names, "level"),
            arena_bytes=self.storage.arena_bytes,
            data_bytes=self.data_bytes(),
            stack_bytes=self.stack_bytes(),
        )

    def data_bytes(self) -> int:
        return sum(array.values.nbytes for array in self.constants.arrays)

    def stack_bytes(self) -> int:
        return stack.stack_bytes(
            ((code.kernel, code.stream is not None) for code in self.codes.values()),
            parameters=len(self.input_names) + len(self.output_names),
            operands=max((len(op.inputs) for op in self.program.ops), default=0),
            external_weights=self.external is not None,
        )

    # --- <name>_data.h ----------------------------------------------------------------------------

    def _add_constant_tensors(self) -> dict[int, str]:
        """Names of the constants that operators or the caller read as activations."""
        used = {i for op in self.program.ops for i in op.inputs} | set(self.program.outputs)
        names = {}
        for index in sorted(used):
            data = self.program.tensors[index].data
            if data is not None:
                names[index] = self.constants.add(f"tensor{index}", data)
        return names

    def _data(self) -> str:
        return fill(
            "codegen",
            "data.h",
            banner=self.banner,
            name=self.name,
            upper=self.upper,
            arrays="\n".join(
                array.definition(f"{self.upper}_WEIGHTS_ATTRIBUTE")
                for array in self.constants.arrays
            ).rstrip("\n"),
        )

    # --- <name>.h ---------------------------------------------------------------------------------

    def _header(self) -> str:
        lines = [
            f"#define {self.upper}_LEVELS {self.program.levels}",
            f"#define {self.upper}_OP_COUNT {len(self.program.ops)}",
            "/* The arena in bytes, planned offline, with room for inputs and outputs. */",
            f"#define {self.upper}_ARENA_SIZE {self.storage.arena_bytes}",
            f"#define {self.upper}_ARENA_ALIGNMENT {ARENA_ALIGNMENT}",
            "/* Stack in bytes under any function below: Cortex-M7, gcc 12 at -O2 or -Os. */",
            f"#define {self.upper}_STACK_SIZE {self.stack_bytes()}",
        ]
        if self.external is not None:
            lines.append(f"#define {self.upper}_WEIGHTS_ALIGNMENT {WEIGHTS_ALIGNMENT}")
        for names, indices in (
            (self.input_names, self.program.inputs),
            (self.output_names, self.program.outputs),
        ):
            for label, index in zip(names, indices, strict=True):
                lines += ["", *self._tensor_macros(label, self.program.tensors[index])]
        includes = ["include/nk_status.h"]
        places = [f"{head}(void);" for head, _ in self._io_places()]
        places_in = [f"{head}_in(void *arena);" for head, _ in self._io_places()]
        if self.detection is not None:
            includes.insert(0, "include/nk_detection.h")
            lines += ["", self.detection.macros]
            places += ["", self.detection.declaration]
            places_in += ["", self.detection.declaration_in]
        return fill(
            "codegen",
            "model.h",
            banner=self.banner,
            upper=self.upper,
            includes="\n".join(f'#include "{header}"' for header in includes),
            macros="\n".join(lines),
            invoke=self._invoke_head(";"),
            invoke_in=self._invoke_head(";", in_arena=True),
            places="\n".join(places),
            places_in="\n".join(places_in),
            check=self._declarations_of_weights(),
        )

    def _tensor_macros(self, label: str, tensor: ir.Tensor) -> list[str]:
        prefix = f"{self.upper}_{label.upper()}"
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        lines = [
            ctext.comment(f"{tensor.name}: {tensor.dtype} {shape}; size in elements"),
            f"#define {prefix}_SIZE {tensor.size}",
        ]
        if tensor.dtype in ("int8", "uint8") and self.external is not None:
            lines += weights_source.quantisation_macros(self.name, label)
        elif tensor.dtype in ("int8", "uint8"):
            lines += [
                f"#define {prefix}_SCALE {ctext.float_literal(tensor.scale)}",
                f"#define {prefix}_ZERO_POINT {ctext.integer_literal(tensor.zero_point)}",
            ]
        return lines

    def _invoke_head(self, tail: str, *, in_arena: bool = False) -> str:
        tensors = self.program.tensors
        parameters = ["void *arena", "size_t arena_size"] if in_arena else []
        parameters += [
            f"const {ctext.c_type(tensors[i].dtype)} *{label}"
            for label, i in zip(self.input_names, self.program.inputs, strict=True)
        ]
        parameters += [
            f"{ctext.c_type(tensors[i].dtype)} *{label}"
            for label, i in zip(self.output_names, self.program.outputs, strict=True)
        ]
        parameters.append("int32_t level")
        return ctext.call(
            f"{self.name}_invoke{'_in' if in_arena else ''}",
            parameters,
            prefix="nk_status ",
            indent="",
            tail=tail,
        )

    def _io_places(self) -> list[tuple[str, int]]:
        """The head and the offset of the functions that give places in an arena."""
        labels = (*self.input_names, *self.output_names)
        indices = (*self.program.inputs, *self.program.outputs)
        offsets = (*self.storage.input_offsets, *self.storage.output_offsets)
        dtypes = [self.program.tensors[index].dtype for index in indices]
        return [
            (f"{ctext.c_type(dtype)} *{self.name}_{label}", offset)
            for label, dtype, offset in zip(labels, dtypes, offsets, strict=True)
        ]

    # --- <name>.c ---------------------------------------------------------------------------------

    def _source(self) -> str:
        hook = f"{self.upper}_ON_OP"
        needed = ["nk_ops.h"]
        if self.has_streams:
            needed += ["nk_nested_conv.h", "nk_stream.h"]
        own = [f"{self.name}_data.h"]
        if self.external is not None:
            own = []
            needed.append("nk_weights.h")
        headers = sorted([*own, *(f"include/{header}" for header in needed)])
        includes = "".join(f'#include "{header}"\n' for header in headers)
        sections = [
            f'{self.banner}\n#include "{self.name}.h"\n\n#include <stddef.h>\n'
            f"#include <string.h>\n\n{includes}",
            f"/* Called after each operator, for profiling. */\n#ifndef {hook}\n"
            f"#define {hook}(index)\n#endif\n",
            f'/* Places the static arena, for example as __attribute__((section(".dtcm"))). */\n'
            f"#ifndef {self.upper}_ARENA_ATTRIBUTE\n#define {self.upper}_ARENA_ATTRIBUTE\n#endif\n",
        ]
        if self.external is not None:
            sections.append(fill("codegen", "weights.c"))
        if self.codes:
            sections.append(_run_macro(hook))
        if self.has_streams:
            sections.append(fill("codegen", "run_nested.c"))
        sections += [code.function for code in self.codes.values()]
        sections += [_ADDRESS_MACRO, self._invoke_in()]
        sections.append(
            "\n".join(
                f"{head}_in(void *arena) {{ return AT({offset}); }}\n"
                for head, offset in self._io_places()
            )
        )
        sections.append(self._static_arena())
        sections.append(self._functions_of_weights())
        if self.detection is not None:
            sections.append(self.detection.function)
        return "\n".join(sections)

    def _invoke_in(self) -> str:
        pointers = [*self.input_names, *self.output_names]
        arena = (
            "arena == NULL",
            f"(uintptr_t)arena % {self.upper}_ARENA_ALIGNMENT != 0",
            f"arena_size < {self.upper}_ARENA_SIZE",
        )
        lines = [
            self._invoke_head(" {", in_arena=True),
            ctext.condition("if", "||", [f"{pointer} == NULL" for pointer in pointers]),
            "    return NK_ERROR_ARGUMENT;",
            "  }",
            f"  if (level < 0 || level >= {self.upper}_LEVELS) {{",
            "    return NK_ERROR_LEVEL;",
            "  }",
            ctext.condition("if", "||", arena),
            "    return NK_ERROR_BUFFER;",
            "  }",
        ]
        if self.external is not None:
            lines[1] = ctext.condition(
                "if", "||", ["weights == NULL", *(f"{pointer} == NULL" for pointer in pointers)]
            )
        for index in range(len(self.program.ops)):
            lines += self._statement(index)
        for k, tensor in self.storage.output_copies:
            lines.append(self._copy(self.output_names[k], tensor))
        return "\n".join([*lines, "  return NK_OK;", "}", ""])

    def _static_arena(self) -> str:
        """The static arena, and the functions that use it."""
        arguments = ["static_arena", "sizeof static_arena", *self.input_names]
        call = ctext.call(
            f"{self.name}_invoke_in", [*arguments, *self.output_names, "level"], prefix="return "
        )
        places = (
            f"{head}(void) {{ return {head.split('*')[1]}_in(static_arena); }}\n"
            for head, _ in self._io_places()
        )
        return "\n".join(
            [
                "/* Working memory of the functions below. */",
                f"{self.upper}_ARENA_ATTRIBUTE static _Alignas(16) int8_t"
                f" static_arena[{self.upper}_ARENA_SIZE];\n",
                f"{self._invoke_head(' {')}\n{call}\n}}\n",
                *places,
            ]
        )

    def _statement(self, index: int) -> list[str]:
        op = self.program.ops[index]
        if index not in self.codes:
            if index not in self.storage.reshape_copies:
                return []  # input and output share their memory
            return [self._copy(self._place(op.outputs[0]), op.inputs[0])]
        code = self.codes[index]
        tensors = [i for i in op.inputs if i != self.program.level_input] + [op.outputs[0]]
        arguments = [self._place(tensor) for tensor in tensors]
        if code.takes_level:
            arguments.append("level")
        if code.scratch_bytes:
            arguments.append(f"AT({self.storage.scratch_offsets[index]})")
        return [ctext.call(f"op{index}", arguments, prefix=f"RUN({index}, ", tail=");")]

    def _copy(self, target: str, tensor: int) -> str:
        size = self.program.tensors[tensor].nbytes
        return ctext.call("memcpy", [target, self._place(tensor), str(size)])

    def _place(self, tensor: int) -> str:
        """The C expression of a tensor's address."""
        home: Home = self.storage.homes[tensor]
        if home.place is Place.INPUT:
            return self.input_names[home.position]
        if home.place is Place.OUTPUT:
            return self.output_names[home.position]
        if home.place is Place.CONSTANT:
            return self.tensor_names[home.position]
        return f"AT({home.position})"

    # --- the weights ------------------------------------------------------------------------------

    def _ends(self) -> list[tuple[str, ir.Tensor]]:
        """Name and tensor of each input and output that has a scale."""
        labels = (*self.input_names, *self.output_names)
        tensors = [self.program.tensors[i] for i in (*self.program.inputs, *self.program.outputs)]
        pairs = zip(labels, tensors, strict=True)
        return [(label, tensor) for label, tensor in pairs if tensor.dtype in ("int8", "uint8")]

    def _declarations_of_weights(self) -> str:
        if self.external is None:
            return weights_source.declaration_of_check(self.name)
        return weights_source.declarations(self.name, [label for label, _ in self._ends()])

    def _functions_of_weights(self) -> str:
        codes, levels = list(self.codes.values()), f"{self.upper}_LEVELS"
        if self.external is None:
            return weights_source.check_of_streams(self.name, codes, levels)
        ends = weights_source.quantisation(self.name, self._ends(), self.external)
        opening = weights_source.opening(self.name, codes, levels, self.external)
        return "\n".join([*ends, opening])


def _run_macro(hook: str) -> str:
    lines = (
        "#define RUN(index, call)",
        "  do {",
        "    const nk_status status_ = (call);",
        "    if (status_ != NK_OK) {",
        "      return status_;",
        "    }",
        f"    {hook}(index);",
    )
    width = max(map(len, lines))
    body = "".join(f"{line:{width}} \\\n" for line in lines)
    return f"/* Runs one operator and leaves at the first error. */\n{body}  }} while (0)\n"


def _numbered(word: str, count: int) -> list[str]:
    return [word] if count == 1 else [f"{word}{i}" for i in range(count)]
