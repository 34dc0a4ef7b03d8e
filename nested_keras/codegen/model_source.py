"""Print a whole `Program` as C: the model's header, its source and its constants."""

from __future__ import annotations

from dataclasses import dataclass

from nested_keras.codegen import ctext, strip_source, weights_source
from nested_keras.codegen.detection_source import DetectionSource, print_detection
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.fusion import sum_kernel
from nested_keras.codegen.header_source import print_header
from nested_keras.codegen.model_plan import ModelPlan, Sizes
from nested_keras.codegen.storage import Home, Place, Storage
from nested_keras.codegen.templating import fill
from nested_keras.codegen.weights_file import ExternalConstants, digest_of
from nested_keras.detection.decoding import Decoder
from nested_keras.tflite import program as ir

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
        sizes: What the library takes.
        storage: Where each tensor lies.
    """

    header: str
    source: str
    data: str | None
    weights: bytes | None
    kernels: tuple[str, ...]
    example: tuple[str, ...]
    sizes: Sizes
    storage: Storage


def sizes_of(program: ir.Program, arena: int | str | None = None) -> Sizes:
    """Returns the sizes of the library of a program, without printing the library.

    Args:
        program: The graph.
        arena: The most bytes of the arena, or SMALLEST, or None; see `ModelPlan`.

    Raises:
        CodegenError: The program holds something that cannot be printed, or needs a larger arena.
    """
    return ModelPlan(program, "model", ctext.Constants(), arena).sizes()


def print_model(
    program: ir.Program,
    name: str,
    banner: str,
    decoder: Decoder | None = None,
    *,
    external_weights: bool = False,
    arena: int | str | None = None,
) -> ModelSource:
    """Prints a program.

    Args:
        program: The graph.
        name: Prefix of the public names.
        banner: The comment that begins each text.
        decoder: Of a detector, to find boxes in the outputs.
        external_weights: Whether the weights come from a file at run time.
        arena: The most bytes of the arena, or SMALLEST, or None; see `ModelPlan`.

    Returns:
        The texts.

    Raises:
        CodegenError: The program holds something that cannot be printed, or needs a larger arena.
    """
    for tensor in (program.tensors[i] for i in (*program.inputs, *program.outputs)):
        if tensor.dtype not in ("int8", "uint8", "float32"):
            raise CodegenError(
                f"graph input or output {tensor.name!r} is {tensor.dtype}; expected int8, uint8 or "
                "float32"
            )
    constants = ExternalConstants() if external_weights else ctext.Constants()
    plan = ModelPlan(program, name, constants, arena)
    detection = None if decoder is None else print_detection(decoder, name, constants)
    kernels = {code.kernel for code in plan.codes.values()} | {"nk_status_name"}
    if plan.has_streams:
        kernels |= {"nk_stream_open", plan.stream_check}
    if detection is not None:
        kernels.add("nk_detection_s8")
    header = print_header(plan, banner, detection)
    source = _SourcePrinter(plan, banner, detection).print()
    data, weights = None, None
    if plan.external is None:
        data = _print_data(plan, banner)
    else:
        kernels.add("nk_weights_check")
        digest = digest_of(*(text.removeprefix(banner) for text in (header, source)))
        source = weights_source.with_digest(source, digest)
        weights = plan.external.file(digest)
    return ModelSource(
        header=header,
        source=source,
        data=data,
        weights=weights,
        kernels=tuple(sorted(kernels)),
        example=(*plan.input_names, *plan.output_names, "level"),
        sizes=plan.sizes(),
        storage=plan.storage,
    )


def _print_data(plan: ModelPlan, banner: str) -> str:
    """Prints <name>_data.h."""
    return fill(
        "codegen",
        "data.h",
        banner=banner,
        name=plan.name,
        upper=plan.upper,
        arrays="\n".join(
            array.definition(f"{plan.upper}_WEIGHTS_ATTRIBUTE") for array in plan.constants.arrays
        ).rstrip("\n"),
    )


class _SourcePrinter:
    """Prints <name>.c."""

    def __init__(self, plan: ModelPlan, banner: str, detection: DetectionSource | None) -> None:
        self.plan, self.banner, self.detection = plan, banner, detection

    def print(self) -> str:
        hook, place = f"{self.plan.upper}_ON_OP", f"{self.plan.upper}_ARENA_ATTRIBUTE"
        needed = ["nk_ops.h"]
        if self.plan.has_streams:
            needed += ["nk_nested_conv.h", "nk_stream.h"]
        own = [f"{self.plan.name}_data.h"]
        if self.plan.external is not None:
            own = []
            needed.append("nk_weights.h")
        headers = sorted([*own, *(f"include/{header}" for header in needed)])
        includes = "".join(f'#include "{header}"\n' for header in headers)
        sections = [
            f'{self.banner}\n#include "{self.plan.name}.h"\n\n#include <stddef.h>\n'
            f"#include <string.h>\n\n{includes}",
            f"/* Called after each operator, for profiling. */\n#ifndef {hook}\n"
            f"#define {hook}(index)\n#endif\n",
            f'/* Places the static arena, for example as __attribute__((section(".dtcm"))). */\n'
            f"#ifndef {place}\n#define {place}\n#endif\n",
        ]
        if self.plan.external is not None:
            sections.append(fill("codegen", "weights.c"))
        if self.plan.codes:
            sections.append(_run_macro(hook))
        if self.plan.groups:
            sections.append(fill("codegen", "strips.c"))
        if any(group.moved() for group in self.plan.groups):
            sections.append(fill("codegen", "keep_rows.c"))
        codes = self.plan.codes.values()
        if any("run_nested" in code.function for code in codes):
            kernel = sum_kernel(self.plan.program)
            sections.append(
                fill("codegen", "run_nested.c")
                if kernel is None
                else fill("codegen", "run_nested_add.c", kernel=kernel)
            )
        if any("run_rows" in code.function for code in codes):
            sections.append(fill("codegen", "run_rows.c"))
        sections += [code.function for code in self.plan.codes.values()]
        sections.append(_ADDRESS_MACRO)
        sections += [
            strip_source.print_table(group, number) for number, group in enumerate(self.plan.groups)
        ]
        sections.append(self._invoke_in())
        sections.append(
            "\n".join(
                f"{head}_in(void *arena) {{ return AT({offset}); }}\n"
                for head, offset in self.plan.io_places()
            )
        )
        sections.append(self._static_arena())
        sections.append(self._functions_of_weights())
        if self.detection is not None:
            sections.append(self.detection.function)
        return "\n".join(sections)

    def _invoke_in(self) -> str:
        pointers = [*self.plan.input_names, *self.plan.output_names]
        arena = (
            "arena == NULL",
            f"(uintptr_t)arena % {self.plan.upper}_ARENA_ALIGNMENT != 0",
            f"arena_size < {self.plan.upper}_ARENA_SIZE",
        )
        lines = [
            self.plan.invoke_head(" {", in_arena=True),
            ctext.condition("if", "||", [f"{pointer} == NULL" for pointer in pointers]),
            "    return NK_ERROR_ARGUMENT;",
            "  }",
            f"  if (level < 0 || level >= {self.plan.upper}_LEVELS) {{",
            "    return NK_ERROR_LEVEL;",
            "  }",
            ctext.condition("if", "||", arena),
            "    return NK_ERROR_BUFFER;",
            "  }",
        ]
        if self.plan.external is not None:
            lines[1] = ctext.condition(
                "if", "||", ["weights == NULL", *(f"{pointer} == NULL" for pointer in pointers)]
            )
        for index in range(len(self.plan.program.ops)):
            group = self.plan.group_of.get(index)
            if group is None:
                lines += self._statement(index)
            elif group.first == index:
                lines += strip_source.print_loop(
                    self.plan, group, self.plan.groups.index(group), self._place
                )
        for k, tensor in self.plan.storage.output_copies:
            lines.append(self._copy(self.plan.output_names[k], tensor))
        return "\n".join([*lines, "  return NK_OK;", "}", ""])

    def _static_arena(self) -> str:
        """The static arena, and the functions that use it."""
        arguments = ["static_arena", "sizeof static_arena", *self.plan.input_names]
        call = ctext.call(
            f"{self.plan.name}_invoke_in",
            [*arguments, *self.plan.output_names, "level"],
            prefix="return ",
        )
        places = (
            f"{head}(void) {{ return {head.split('*')[1]}_in(static_arena); }}\n"
            for head, _ in self.plan.io_places()
        )
        return "\n".join(
            [
                "/* Working memory of the functions below. */",
                f"{self.plan.upper}_ARENA_ATTRIBUTE static _Alignas(16) int8_t"
                f" static_arena[{self.plan.upper}_ARENA_SIZE];\n",
                f"{self.plan.invoke_head(' {')}\n{call}\n}}\n",
                *places,
            ]
        )

    def _statement(self, index: int) -> list[str]:
        op = self.plan.program.ops[index]
        if index not in self.plan.codes:
            if index not in self.plan.storage.reshape_copies:
                return []  # input and output share their memory
            return [self._copy(self._place(op.outputs[0]), op.inputs[0])]
        code = self.plan.codes[index]
        tensors = [i for i in op.inputs if i != self.plan.program.level_input] + [op.outputs[0]]
        arguments = [self._place(tensor) for tensor in tensors]
        if code.takes_level:
            arguments.append("level")
        if code.scratch_bytes:
            storage = self.plan.storage
            arguments += [
                f"AT({storage.scratch_offsets[index]})",
                str(storage.scratch_rooms[index]),
            ]
        return [ctext.call(f"op{index}", arguments, prefix=f"RUN({index}, ", tail=");")]

    def _copy(self, target: str, tensor: int) -> str:
        size = self.plan.program.tensors[tensor].nbytes
        return ctext.call("memcpy", [target, self._place(tensor), str(size)])

    def _place(self, tensor: int) -> str:
        """The C expression of a tensor's address."""
        home: Home = self.plan.storage.homes[tensor]
        if home.place is Place.INPUT:
            return self.plan.input_names[home.position]
        if home.place is Place.OUTPUT:
            return self.plan.output_names[home.position]
        if home.place is Place.CONSTANT:
            return self.plan.tensor_names[home.position]
        return f"AT({home.position})"

    def _functions_of_weights(self) -> str:
        codes, levels = list(self.plan.codes.values()), f"{self.plan.upper}_LEVELS"
        check = self.plan.stream_check
        if self.plan.external is None:
            return weights_source.check_of_streams(self.plan.name, codes, levels, check)
        ends = weights_source.quantisation(self.plan.name, self.plan.ends(), self.plan.external)
        opening = weights_source.opening(
            self.plan.name, codes, levels, self.plan.external, check=check
        )
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
