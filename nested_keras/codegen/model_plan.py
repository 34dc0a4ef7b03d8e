"""What all texts of a generated library share: the names, the kernels, the plan of the memory."""

from __future__ import annotations

from dataclasses import dataclass

from nested_keras.codegen import ctext
from nested_keras.codegen.firmware_errors import CodegenError
from nested_keras.codegen.fusion import Joined, join_additions
from nested_keras.codegen.operator_calls import OpCode, print_op
from nested_keras.codegen.part_choice import ScratchOfParts, arena_bytes, fewest_in_parts
from nested_keras.codegen.scratch_needs import ops_for_parts, scratch_bytes
from nested_keras.codegen.storage import Storage, plan_storage
from nested_keras.codegen.strip_choice import choose_groups
from nested_keras.codegen.strips import Call, Group
from nested_keras.codegen.weights_file import ExternalConstants
from nested_keras.cortex_m import stack
from nested_keras.tflite import operators, program as ir


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


class ModelPlan:
    """A program as it is printed.

    Args:
        program: The graph.
        name: Prefix of the public names.
        constants: Receives the weights and the tables.
        arena: The most bytes of the arena, or SMALLEST (`strip_choice.py`); None for an arena in
            which every operator runs whole.

    Attributes:
        program: The graph.
        name: Prefix of the public names.
        upper: The same in capitals.
        constants: The weights and the tables.
        external: The same if they come from a file at run time; else None.
        groups: The operators that run strip by strip.
        codes: The C of each operator that is a call, by the operator's index.
        storage: Where each tensor lies.
        has_streams: Whether a kernel reads packed weights.
        stream_check: The function of tflm_ops that checks the streams.
        input_names: Of the parameters of <name>_invoke().
        output_names: Likewise.
        tensor_names: Of the constants that operators or the caller read as activations.

    Raises:
        CodegenError: The program holds something that cannot be printed, or needs a larger arena.
    """

    def __init__(
        self,
        program: ir.Program,
        name: str,
        constants: ctext.Constants,
        arena: int | str | None = None,
    ) -> None:
        self.name = name
        self.upper = name.upper()
        self.constants = constants
        self.external = constants if isinstance(constants, ExternalConstants) else None
        self.program, self.groups, in_parts = self._within(program, arena)
        self.group_of = {
            i: group for group in self.groups for i in range(group.first, group.last + 1)
        }
        self.codes: dict[int, OpCode] = {
            index: print_op(
                self.program,
                index,
                constants,
                _calls(self.group_of.get(index), index),
                in_parts=index in in_parts,
            )
            for index, op in enumerate(self.program.ops)
            if not isinstance(op, operators.Reshape | Joined)
        }
        sizes = [
            self.codes[i].scratch_bytes if i in self.codes else 0
            for i in range(len(self.program.ops))
        ]
        self.storage: Storage = plan_storage(self.program, sizes, self.groups)
        if isinstance(arena, int) and self.storage.arena_bytes > arena:
            raise CodegenError(
                f"the arena needs {self.storage.arena_bytes:,} bytes: got a limit of {arena:,}"
            )
        self.has_streams = any(code.stream is not None for code in self.codes.values())
        self.stream_check = (
            "nk_stream_validate_in_place"
            if all(code.in_place for code in self.codes.values())
            else "nk_stream_validate"
        )
        self.input_names = _numbered("input", len(program.inputs))
        self.output_names = _numbered("output", len(program.outputs))
        self.tensor_names = self._add_constant_tensors()

    def _within(
        self, program: ir.Program, arena: int | str | None
    ) -> tuple[ir.Program, tuple[Group, ...], frozenset[int]]:
        """The program to print, its groups and the operators that run in parts.

        Strips and parts are only where the arena is too large.
        """
        any_weights = self.external is not None

        def scratch(graph: ir.Program) -> ScratchOfParts:
            return lambda index, group, in_parts: scratch_bytes(
                graph, index, _calls(group, index), any_weights=any_weights, in_parts=in_parts
            )

        # A file may bring sums of another form.
        joined = program if any_weights else join_additions(program)
        if arena is None:
            return joined, (), frozenset()
        limit = arena if isinstance(arena, int) else 0
        parts = ops_for_parts(joined, any_weights=any_weights)
        if arena_bytes(joined, scratch(joined), (), parts) <= limit:
            return joined, (), fewest_in_parts(joined, scratch(joined), (), parts, limit)
        parts = ops_for_parts(program, any_weights=any_weights)
        groups = choose_groups(
            program,
            lambda index, group: scratch(program)(index, group, group is None and index in parts),
            arena,
        )
        parts -= {i for group in groups for i in range(group.first, group.last + 1)}
        return program, groups, fewest_in_parts(program, scratch(program), groups, parts, limit)

    def sizes(self) -> Sizes:
        """Returns what the library takes."""
        return Sizes(
            arena_bytes=self.storage.arena_bytes,
            data_bytes=sum(array.values.nbytes for array in self.constants.arrays),
            stack_bytes=stack.stack_bytes(
                ((code.kernel, code.stream is not None) for code in self.codes.values()),
                parameters=len(self.input_names) + len(self.output_names),
                operands=max((len(op.inputs) for op in self.program.ops), default=0),
                external_weights=self.external is not None,
                strips=bool(self.groups),
            ),
        )

    def invoke_head(self, tail: str, *, in_arena: bool = False) -> str:
        """Returns the head of <name>_invoke(), or of <name>_invoke_in()."""
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

    def io_places(self) -> list[tuple[str, int]]:
        """Returns head and offset of the functions that give places in an arena."""
        labels = (*self.input_names, *self.output_names)
        indices = (*self.program.inputs, *self.program.outputs)
        offsets = (*self.storage.input_offsets, *self.storage.output_offsets)
        dtypes = [self.program.tensors[index].dtype for index in indices]
        return [
            (f"{ctext.c_type(dtype)} *{self.name}_{label}", offset)
            for label, dtype, offset in zip(labels, dtypes, offsets, strict=True)
        ]

    def ends(self) -> list[tuple[str, ir.Tensor]]:
        """Returns name and tensor of each input and output that has a scale."""
        labels = (*self.input_names, *self.output_names)
        tensors = [self.program.tensors[i] for i in (*self.program.inputs, *self.program.outputs)]
        pairs = zip(labels, tensors, strict=True)
        return [(label, tensor) for label, tensor in pairs if tensor.dtype in ("int8", "uint8")]

    def _add_constant_tensors(self) -> dict[int, str]:
        """Names of the constants that operators or the caller read as activations."""
        used = {i for op in self.program.ops for i in op.inputs} | set(self.program.outputs)
        names = {}
        for index in sorted(used):
            data = self.program.tensors[index].data
            if data is not None:
                names[index] = self.constants.add(f"tensor{index}", data)
        return names


def _calls(group: Group | None, index: int) -> tuple[Call, ...]:
    """The calls of one operator of a group."""
    return () if group is None else tuple(call for call in group.calls() if call.op == index)


def _numbered(word: str, count: int) -> list[str]:
    return [word] if count == 1 else [f"{word}{i}" for i in range(count)]
