"""Plan the storage of each tensor: the caller's buffers, constants, or the planned arena."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from nested_keras.codegen.arena import Buffer, plan_arena
from nested_keras.codegen.fusion import ConvAdd
from nested_keras.tflite.operators import Reshape
from nested_keras.tflite.program import Program


class Place(enum.Enum):
    """Kind of storage."""

    INPUT = "input"
    OUTPUT = "output"
    CONSTANT = "constant"
    ARENA = "arena"


@dataclass(frozen=True)
class Home:
    """Storage of one tensor.

    Attributes:
        place: Kind of storage.
        position: The number of the graph input, graph output or tensor; or the offset in the arena.
    """

    place: Place
    position: int


@dataclass(frozen=True)
class Storage:
    """The plan of a program.

    Attributes:
        homes: By tensor index, the home of each tensor that an operator or the interface uses.
        scratch_offsets: Offset in the arena of each operator's scratch buffer.
        reshape_copies: Indices of the Reshape operators that cannot alias and have to copy.
        output_copies: (graph output, tensor) pairs to be copied at the end, because the tensor
            shares its bytes with a graph input, a constant, or another output.
        input_offsets: Offset in the arena for each graph input, for callers without a buffer of
            their own. The bytes are reused once the last reader of the input has run.
        output_offsets: Offset in the arena for each graph output, for such callers.
        arena_bytes: Size of the arena.
    """

    homes: dict[int, Home]
    scratch_offsets: tuple[int, ...]
    input_offsets: tuple[int, ...]
    output_offsets: tuple[int, ...]
    reshape_copies: frozenset[int]
    output_copies: tuple[tuple[int, int], ...]
    arena_bytes: int


def plan_storage(program: Program, scratch_bytes: Sequence[int]) -> Storage:
    """Chooses the home of each tensor.

    A Reshape's output shares its input's memory, except where the bytes have to arrive in a graph
    output and already live elsewhere. The sum of a `ConvAdd` shares the memory of what is added.

    Args:
        program: The graph.
        scratch_bytes: Scratch that each operator needs, 0 for none.

    Returns:
        The plan.
    """
    homes = _fixed_homes(program)
    root, reshape_copies = _alias_reshapes(program, homes)
    _alias_sums(program, homes, root)
    output_copies = tuple(
        (k, tensor)
        for k, tensor in enumerate(program.outputs)
        if homes[tensor] != Home(Place.OUTPUT, k)
    )
    end = len(program.ops)
    users = _users(program, root)
    in_arena = [tensor for tensor in users if tensor not in homes]
    for _, tensor in output_copies:
        users.setdefault(tensor, []).append(end)
    sizes = [tensor.nbytes for tensor in program.tensors]
    groups = [
        [Buffer(sizes[tensor], users[tensor][0], users[tensor][-1]) for tensor in in_arena],
        [Buffer(size, index, index) for index, size in enumerate(scratch_bytes)],
        [Buffer(sizes[i], 0, users.get(i, [0])[-1], is_late=True) for i in program.inputs],
        [
            Buffer(sizes[i], end if (k, i) in output_copies else users[i][0], end, is_late=True)
            for k, i in enumerate(program.outputs)
        ],
    ]
    plan = plan_arena([buffer for group in groups for buffer in group])
    offsets = iter(plan.offsets)
    tensors, scratch, inputs, outputs = (tuple(islice(offsets, len(group))) for group in groups)
    for tensor, offset in zip(in_arena, tensors, strict=True):
        homes[tensor] = Home(Place.ARENA, offset)
    for tensor in list(root):
        homes[tensor] = homes[_find(root, tensor)]
    return Storage(
        homes=homes,
        scratch_offsets=scratch,
        reshape_copies=frozenset(reshape_copies),
        output_copies=output_copies,
        input_offsets=inputs,
        output_offsets=outputs,
        arena_bytes=plan.size,
    )


def _users(program: Program, root: dict[int, int]) -> dict[int, list[int]]:
    """The operators that need the memory of each tensor, in order."""
    users: dict[int, list[int]] = {}
    for index, op in enumerate(program.ops):
        for tensor in (*op.inputs, *op.outputs):
            if tensor != program.level_input:
                users.setdefault(_find(root, tensor), []).append(index)
    return users


def _fixed_homes(program: Program) -> dict[int, Home]:
    """Tensors that live outside the arena."""
    homes: dict[int, Home] = {}
    for index, tensor in enumerate(program.tensors):
        if tensor.data is not None:
            homes[index] = Home(Place.CONSTANT, index)
    for k, index in enumerate(program.inputs):
        homes[index] = Home(Place.INPUT, k)
    for k, index in enumerate(program.outputs):
        homes.setdefault(index, Home(Place.OUTPUT, k))
    return homes


def _alias_reshapes(program: Program, homes: dict[int, Home]) -> tuple[dict[int, int], list[int]]:
    """Maps a tensor to the tensor with the same memory, and lists the reshapes that copy."""
    root: dict[int, int] = {}
    copies: list[int] = []
    for index, op in enumerate(program.ops):
        if not isinstance(op, Reshape):
            continue
        source, target = _find(root, op.inputs[0]), op.outputs[0]
        if target not in homes:
            root[target] = source
        elif source not in homes:  # computed straight into the graph output
            root[source] = target
        else:
            copies.append(index)
    return root, copies


def _alias_sums(program: Program, homes: dict[int, Home], root: dict[int, int]) -> None:
    """Lets a `ConvAdd` write its sums over the tensor that is added, if nothing reads it later."""
    for index, op in enumerate(program.ops):
        if not isinstance(op, ConvAdd):
            continue
        x, other, y = (
            _find(root, tensor) for tensor in (op.inputs[0], *op.inputs[1:], *op.outputs)
        )
        in_arena = other not in homes and y not in homes
        if in_arena and other != x and _users(program, root)[other][-1] == index:
            root[y] = other


def _find(root: dict[int, int], tensor: int) -> int:
    while tensor in root:
        tensor = root[tensor]
    return tensor
