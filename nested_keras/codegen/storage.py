"""Plan the storage of each tensor: the caller's buffers, constants, or the planned arena."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nested_keras.codegen.arena import ALIGNMENT, Buffer, plan_arena
from nested_keras.codegen.fusion import ConvAdd
from nested_keras.codegen.strips import Group, row_bytes
from nested_keras.format.layout import align
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
class Block:
    """Bytes of the arena that hold something for some time.

    Attributes:
        name: Of the tensor; of the operator for scratch memory.
        kind: "tensor", "rows" of a tensor that never exists as a whole, "scratch", "input" or
            "output".
        offset: First byte.
        size: Bytes.
        first: Index of the first operator that needs them.
        last: Index of the last one; the number of operators for the end of a run.
    """

    name: str
    kind: str
    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Storage:
    """The plan of a program.

    Attributes:
        homes: By tensor index, the home of each tensor that an operator or the interface uses.
        scratch_offsets: Offset in the arena of each operator's scratch buffer.
        scratch_rooms: Bytes of each operator's scratch buffer: more than the operator needs where
            the arena has room.
        reshape_copies: Indices of the Reshape operators that cannot alias and have to copy.
        output_copies: (graph output, tensor) pairs to be copied at the end, because the tensor
            shares its bytes with a graph input, a constant, or another output.
        input_offsets: Offset in the arena for each graph input, for callers without a buffer of
            their own. The bytes are reused once the last reader of the input has run.
        output_offsets: Offset in the arena for each graph output, for such callers.
        arena_bytes: Size of the arena.
        blocks: What lies in the arena.
    """

    homes: dict[int, Home]
    scratch_offsets: tuple[int, ...]
    scratch_rooms: tuple[int, ...]
    input_offsets: tuple[int, ...]
    output_offsets: tuple[int, ...]
    reshape_copies: frozenset[int]
    output_copies: tuple[tuple[int, int], ...]
    arena_bytes: int
    blocks: tuple[Block, ...]


def plan_storage(
    program: Program, scratch_bytes: Sequence[int], groups: Sequence[Group] = ()
) -> Storage:
    """Chooses the home of each tensor.

    A Reshape's output shares its input's memory, except where the bytes have to arrive in a graph
    output and already live elsewhere. The sum of a `ConvAdd` shares the memory of what is added.

    Args:
        program: The graph.
        scratch_bytes: Scratch that each operator needs, 0 for none.
        groups: The operators that run strip by strip.

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
    users = _users(program, root, groups)
    in_arena = [tensor for tensor in users if tensor not in homes]
    for _, tensor in output_copies:
        users.setdefault(tensor, []).append(len(program.ops))
    shares = _shares(program, root, groups, in_arena)
    parts = [
        _tensor_requests(program, in_arena, users, groups, shares),
        _scratch_requests(program, scratch_bytes),
        *_interface_requests(program, users, output_copies),
    ]
    requests = list(itertools.chain(*parts))
    plan = plan_arena([buffer for _, _, buffer in requests])
    offsets = iter(plan.offsets)
    tensors, scratch, inputs, outputs = (
        tuple(itertools.islice(offsets, len(part))) for part in parts
    )
    for tensor, offset in zip(in_arena, tensors, strict=True):
        homes[tensor] = Home(Place.ARENA, offset)
    for tensor in list(root):
        homes[tensor] = homes[_find(root, tensor)]
    blocks = _blocks(requests, plan.offsets)
    gaps = _scratch_gaps(blocks, scratch, plan.size)
    return Storage(
        homes=homes,
        scratch_offsets=tuple(offset for offset, _ in gaps),
        scratch_rooms=tuple(size for _, size in gaps),
        reshape_copies=frozenset(reshape_copies),
        output_copies=output_copies,
        input_offsets=inputs,
        output_offsets=outputs,
        arena_bytes=plan.size,
        blocks=tuple(_moved(block, gaps) for block in blocks),
    )


def _blocks(requests: Sequence[_Request], offsets: Sequence[int]) -> list[Block]:
    """The requests of at least a byte, at their offsets."""
    return [
        Block(name, kind, offset, buffer.size, buffer.first, buffer.last)
        for (name, kind, buffer), offset in zip(requests, offsets, strict=True)
        if buffer.size
    ]


def _scratch_gaps(
    blocks: Sequence[Block], offsets: Sequence[int], arena_bytes: int
) -> list[tuple[int, int]]:
    """Offset and bytes of each operator's scratch: the widest gap that the operator leaves.

    A kernel may be faster with more scratch than it needs.
    """
    users = {block.first for block in blocks if block.kind == "scratch"}
    return [
        _widest_gap(blocks, index, arena_bytes) if index in users else (offset, 0)
        for index, offset in enumerate(offsets)
    ]


def _widest_gap(blocks: Sequence[Block], index: int, arena_bytes: int) -> tuple[int, int]:
    """Offset and bytes of the widest gap between the blocks that an operator has to leave alone."""
    taken = sorted(
        (block.offset, block.offset + block.size)
        for block in blocks
        if block.kind != "scratch" and block.first <= index <= block.last
    )
    widest, begin = (0, 0), 0
    for first, end in [*taken, (arena_bytes, arena_bytes)]:
        if first - begin > widest[1]:
            widest = (begin, first - begin)
        begin = max(begin, align(end, ALIGNMENT))
    return widest


def _moved(block: Block, gaps: Sequence[tuple[int, int]]) -> Block:
    """The block; at the place of its operator's gap if the block is scratch memory."""
    if block.kind != "scratch":
        return block
    return dataclasses.replace(block, offset=gaps[block.first][0])


_Request: TypeAlias = tuple[str, str, Buffer]  # name and kind of the block, and its buffer


def _tensor_requests(
    program: Program,
    in_arena: Sequence[int],
    users: dict[int, list[int]],
    groups: Sequence[Group],
    shares: dict[int, int],
) -> list[_Request]:
    """The requests of the tensors between operators."""
    rows = {tensor: count for group in groups for tensor, count in group.capacities.items()}
    requests = []
    for i in in_arena:
        tensor = program.tensors[i]
        size = rows[i] * row_bytes(tensor) if i in rows else tensor.nbytes
        buffer = Buffer(size, users[i][0], users[i][-1], shares=shares.get(i))
        requests.append((tensor.name, "rows" if i in rows else "tensor", buffer))
    return requests


def _scratch_requests(program: Program, scratch_bytes: Sequence[int]) -> list[_Request]:
    """The requests of the operators' scratch memory."""
    return [
        (op.name, "scratch", Buffer(size, index, index))
        for index, (op, size) in enumerate(zip(program.ops, scratch_bytes, strict=True))
    ]


def _interface_requests(
    program: Program, users: dict[int, list[int]], output_copies: Sequence[tuple[int, int]]
) -> tuple[list[_Request], list[_Request]]:
    """The requests of the inputs and the outputs, for callers without buffers of their own."""
    tensors, end = program.tensors, len(program.ops)
    inputs = [
        (
            tensors[i].name,
            "input",
            Buffer(tensors[i].nbytes, 0, users.get(i, [0])[-1], is_late=True),
        )
        for i in program.inputs
    ]
    outputs = []
    for k, i in enumerate(program.outputs):
        first = end if (k, i) in output_copies else users[i][0]
        buffer = Buffer(tensors[i].nbytes, first, end, is_late=True)
        outputs.append((tensors[i].name, "output", buffer))
    return inputs, outputs


def lifetimes(program: Program) -> dict[int, tuple[int, int]]:
    """Returns the first and the last operator that needs each tensor, graph inputs and outputs too.

    Tensors that share memory with another tensor (a Reshape) are left out, as are constants.

    Args:
        program: The graph.

    Returns:
        By tensor index, the first and the last operator; len(program.ops) is the end of a run.
    """
    homes = _fixed_homes(program)
    root, _ = _alias_reshapes(program, homes)
    found = {
        tensor: (needed[0], needed[-1])
        for tensor, needed in _users(program, root, ()).items()
        if homes.get(tensor, Home(Place.ARENA, 0)).place is not Place.CONSTANT
    }
    for tensor in program.inputs:
        if tensor in found:
            found[tensor] = (0, found[tensor][1])
    for tensor in program.outputs:
        if tensor in found:
            found[tensor] = (found[tensor][0], len(program.ops))
    return found


def _users(program: Program, root: dict[int, int], groups: Sequence[Group]) -> dict[int, list[int]]:
    """The operators that need the memory of each tensor, in order; a group needs it as a whole."""
    spans = {
        i: (group.first, group.last) for group in groups for i in range(group.first, group.last + 1)
    }
    users: dict[int, list[int]] = {}
    for index, op in enumerate(program.ops):
        for tensor in (*op.inputs, *op.outputs):
            if tensor != program.level_input:
                users.setdefault(_find(root, tensor), []).extend(spans.get(index, (index,)))
    return {tensor: sorted(needed) for tensor, needed in users.items()}


def _shares(
    program: Program, root: dict[int, int], groups: Sequence[Group], in_arena: Sequence[int]
) -> dict[int, int]:
    """By tensor, the request whose memory the tensor takes (see `Group.overwrites`)."""
    request = {tensor: index for index, tensor in enumerate(in_arena)}
    # The requests of the graph's inputs come after those of the scratch buffers.
    first_input = len(in_arena) + len(program.ops)
    request |= {tensor: first_input + k for k, tensor in enumerate(program.inputs)}
    found = {}
    for group in groups:
        if group.overwrites is None:
            continue
        source = _find(root, group.overwrites)
        target = _find(root, program.ops[group.last].outputs[0])
        if source in request and target in in_arena:
            found[target] = request[source]
    return found


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
        if in_arena and other != x and _users(program, root, ())[other][-1] == index:
            root[y] = other


def _find(root: dict[int, int], tensor: int) -> int:
    while tensor in root:
        tensor = root[tensor]
    return tensor
