"""Run neighbouring operators strip by strip, so that the images between them are never whole.

A group of operators makes a few rows of its last output at a time. For each strip every operator of
the group computes the rows that its readers need next and that do not exist yet; nothing is
computed twice. A tensor inside the group keeps only the rows that a later strip reads: they move to
the front of its buffer before new rows are added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nested_keras.tflite import operators, program as ir
from nested_keras.tflite.operators.registration import RowWindow


@dataclass(frozen=True)
class Rows:
    """Some rows of a tensor in a buffer.

    Attributes:
        tensor: Index of the tensor.
        first: Row of the buffer, 0 for the first.
        count: Number of rows; for a tensor whose rows do not matter, the whole tensor's.
    """

    tensor: int
    first: int
    count: int


@dataclass(frozen=True)
class Call:
    """An operator that computes some rows.

    Attributes:
        op: Index of the operator.
        inputs: What it reads, in the order of its inputs without the level.
        output: What it writes.
        pad_top: Rows of padding above `inputs[0]`.
    """

    op: int
    inputs: tuple[Rows, ...]
    output: Rows
    pad_top: int


@dataclass(frozen=True)
class Move:
    """Rows that move to the front of their buffer.

    Attributes:
        tensor: Index of the tensor.
        first: The first of them in the buffer, > 0.
        count: Number of rows, > 0.
    """

    tensor: int
    first: int
    count: int


@dataclass(frozen=True)
class Group:
    """Neighbouring operators that run strip by strip.

    Attributes:
        first: Index of the first operator.
        last: Index of the last operator.
        height: Rows of the last operator's output in a strip; the last strip may have fewer.
        capacities: By tensor, the rows that its buffer holds, for each tensor inside the group.
        steps: What to do, in order.
        overwrites: The tensor from outside whose memory the group's output may take, because the
            strips write behind the rows that they still read; None if there is none.
    """

    first: int
    last: int
    height: int
    capacities: Mapping[int, int]
    steps: tuple[Call | Move, ...]
    overwrites: int | None

    def calls(self) -> Iterator[Call]:
        """Yields the calls of operators."""
        return (step for step in self.steps if isinstance(step, Call))

    def moved(self) -> frozenset[int]:
        """Returns the tensors whose rows move."""
        return frozenset(step.tensor for step in self.steps if isinstance(step, Move))


def row_bytes(tensor: ir.Tensor) -> int:
    """Returns the bytes of one row of an image [1, h, w, c]."""
    return tensor.nbytes // tensor.shape[1]


class Graph:
    """What the planning of strips asks a program for, found once.

    Args:
        program: The graph.

    Attributes:
        program: The graph.
        readers: By tensor, the operators that read it, in order.
        producer: By tensor, the operator that writes it.
    """

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self.windows = [_window(program, op) for op in program.ops]
        self.readers: dict[int, list[int]] = {}
        self.producer: dict[int, int] = {}
        for index, op in enumerate(program.ops):
            for tensor in op.inputs:
                self.readers.setdefault(tensor, []).append(index)
            self.producer[op.outputs[0]] = index

    def group(self, first: int, last: int, height: int) -> Group | None:
        """Returns the group of the operators first..last; None if they cannot run in strips."""
        if any(window is None for window in self.windows[first : last + 1]):
            return None
        inner = {self.program.ops[i].outputs[0] for i in range(first, last)}
        for tensor in inner:
            readers = self.readers.get(tensor, [])
            if tensor in self.program.outputs or not readers or readers[-1] > last:
                return None
            if self.program.tensors[tensor].shape[1] == 1:
                return None  # an element-wise reader may need this row for all of its own rows
        return _Strips(self, first, last, inner).group(height)

    def height(self, op: int) -> int:
        """Returns the rows of an operator's output."""
        return self.program.tensors[self.program.ops[op].outputs[0]].shape[1]


def _window(program: ir.Program, op: ir.Op) -> RowWindow | None:
    """The window of an operator over images; None if the operator cannot compute some rows."""
    registration = operators.registration_of(op)
    window = registration.row_window(op) if registration else None
    output = program.tensors[op.outputs[0]]
    if window is None or len(output.shape) != 4 or output.shape[0] != 1:
        return None
    if window.pad_top >= window.kernel:
        return None  # windows that see padding alone
    for index in op.inputs:
        tensor = program.tensors[index]
        if index == program.level_input or _is_row(tensor):
            continue
        if tensor.data is not None or len(tensor.shape) != 4 or tensor.shape[0] != 1:
            return None
        if window.is_element_wise and tensor.shape[1] not in (1, output.shape[1]):
            return None
    return window


def _is_row(tensor: ir.Tensor) -> bool:
    """Whether a tensor is a constant that every row of an image meets."""
    return tensor.data is not None and (len(tensor.shape) < 3 or tensor.shape[-3] == 1)


class _Strips:
    """Plans the strips of one group."""

    def __init__(self, graph: Graph, first: int, last: int, inner: set[int]) -> None:
        self.graph, self.first, self.last, self.inner = graph, first, last, inner
        self.tensors = graph.program.tensors
        self.made = dict.fromkeys(range(first, last + 1), 0)  # rows that an operator has made
        self.front = dict.fromkeys(inner, 0)  # the row of the tensor at the front of its buffer
        self.capacity = dict.fromkeys(inner, 0)
        self.steps: list[Call | Move] = []

    def group(self, height: int) -> Group:
        total = self.graph.height(self.last)
        source = self._overwritable()
        for end in range(height, total + height, height):
            self._strip(min(end, total))
            if source is not None and not self._is_behind(source, min(end, total)):
                source = None
        return Group(self.first, self.last, height, self.capacity, tuple(self.steps), source)

    def _strip(self, end: int) -> None:
        for op, needed in self._needed(end).items():
            if needed == self.made[op]:
                continue
            output = self.graph.program.ops[op].outputs[0]
            if output in self.inner:
                self._make_room(output, needed)
            self._call(op, needed)
            self.made[op] = needed

    def _needed(self, end: int) -> dict[int, int]:
        """The rows that each operator has to have made at the end of a strip."""
        ops = self.graph.program.ops
        needed = dict.fromkeys(self.made, 0)
        needed[self.last] = end
        for op in range(self.last, self.first - 1, -1):
            window = self._window(op)
            for tensor in ops[op].inputs:
                if tensor in self.inner:
                    row = (needed[op] - 1) * window.stride - window.pad_top + window.kernel
                    row = min(max(row, 0), self.tensors[tensor].shape[1])
                    producer = self.graph.producer[tensor]
                    needed[producer] = max(needed[producer], row if needed[op] else 0)
        return {op: max(rows, self.made[op]) for op, rows in needed.items()}

    def _make_room(self, tensor: int, end: int) -> None:
        """Drops the rows that no reader needs any more."""
        made = self.made[self.graph.producer[tensor]]
        kept = min(self._next_row(tensor), made)
        front = self.front[tensor]
        if kept > front and made > kept:
            self.steps.append(Move(tensor, kept - front, made - kept))
        self.front[tensor] = kept
        self.capacity[tensor] = max(self.capacity[tensor], end - kept)

    def _next_row(self, tensor: int) -> int:
        """The first row of a tensor that a reader in the group still reads."""
        rows = []
        for op in self.graph.readers[tensor]:
            if self.first <= op <= self.last and self.made[op] < self.graph.height(op):
                window = self._window(op)
                rows.append(max(self.made[op] * window.stride - window.pad_top, 0))
        return min(rows, default=self.tensors[tensor].shape[1])

    def _call(self, index: int, end: int) -> None:
        op, window, begin = self.graph.program.ops[index], self._window(index), self.made[index]
        top = begin * window.stride - window.pad_top
        bottom = (end - 1) * window.stride - window.pad_top + window.kernel
        inputs = []
        for tensor in op.inputs:
            if tensor == self.graph.program.level_input:
                continue
            if self.tensors[tensor].data is not None:
                inputs.append(Rows(tensor, 0, 1))
                continue
            height = self.tensors[tensor].shape[1]
            first, stop = max(top, 0), min(bottom, height)
            if window.is_element_wise and height == 1:
                first, stop = 0, 1
            inputs.append(Rows(tensor, first - self.front.get(tensor, 0), stop - first))
        output = op.outputs[0]
        written = Rows(output, begin - self.front.get(output, 0), end - begin)
        self.steps.append(Call(index, tuple(inputs), written, max(-top, 0)))

    def _window(self, op: int) -> RowWindow:
        window = self.graph.windows[op]
        assert window is not None
        return window

    def _overwritable(self) -> int | None:
        """The tensor from outside that only this group reads, if it is the only one."""
        read = {
            tensor
            for op in range(self.first, self.last + 1)
            for tensor in self.graph.program.ops[op].inputs
            if tensor != self.graph.program.level_input
            and tensor not in self.inner
            and self.tensors[tensor].data is None
        }
        if len(read) != 1:
            return None
        (tensor,) = read
        if self.graph.readers[tensor][-1] > self.last or tensor in self.graph.program.outputs:
            return None
        output = self.graph.program.ops[self.last]
        # The last operator may read what it overwrites only element by element.
        window = self._window(self.last)
        if tensor in output.inputs and not window.is_element_wise:
            return None
        return tensor

    def _is_behind(self, source: int, end: int) -> bool:
        """Whether `end` rows of output at the place of `source` cover no row that is still read."""
        output = self.tensors[self.graph.program.ops[self.last].outputs[0]]
        return end * row_bytes(output) <= self._next_row(source) * row_bytes(self.tensors[source])
