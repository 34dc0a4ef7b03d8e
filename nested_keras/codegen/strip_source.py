"""Print a group of operators that run strip by strip (`strips.py`) as C."""

from __future__ import annotations

from collections.abc import Callable

from nested_keras.codegen import ctext
from nested_keras.codegen.model_plan import ModelPlan
from nested_keras.codegen.strips import Call, Group, Move, row_bytes


def print_table(group: Group, number: int) -> str:
    """Prints the rows of every call, strip after strip.

    Args:
        group: The group.
        number: Position of the group in the model.
    """
    strips = _strips(group)
    width = group.last - group.first + 1
    rows = "".join(
        "    {"
        + ", ".join(_row(strip.get(op)) for op in range(group.first, group.last + 1))
        + "},\n"
        for strip in strips
    )
    return (
        f"/* Operators {group.first} to {group.last}: a row for each strip. */\n"
        f"// clang-format off\n"
        f"static const strip strips{number}[{len(strips)}][{width}] = {{\n{rows}}};\n"
        f"// clang-format on\n"
    )


def print_loop(
    plan: ModelPlan, group: Group, number: int, place: Callable[[int], str]
) -> list[str]:
    """Prints the statements that run a group.

    Args:
        plan: The model.
        group: The group.
        number: Position of the group in the model.
        place: Gives the C expression of a tensor's address.
    """
    lines = [
        f"  for (size_t s = 0; s < {len(_strips(group))}; ++s) {{",
        f"    const strip *rows = strips{number}[s];",
    ]
    for index in range(group.first, group.last + 1):
        lines += _statement(plan, group, index, place)
    return [*lines, "  }"]


def _statement(plan: ModelPlan, group: Group, index: int, place: Callable[[int], str]) -> list[str]:
    program, code = plan.program, plan.codes[index]
    op = program.ops[index]
    inputs = [tensor for tensor in op.inputs if tensor != program.level_input]
    arguments = []
    for k, tensor in enumerate(inputs):
        if program.tensors[tensor].data is not None:
            arguments.append(place(tensor))
        else:
            arguments.append(_address(plan, tensor, f"rows->input_row[{k}]", "const ", place))
    output = op.outputs[0]
    arguments += [_address(plan, output, "rows->output_row", "", place), "rows"]
    arguments += ["level"] if code.takes_level else []
    if code.scratch_bytes:
        storage = plan.storage
        arguments += [f"AT({storage.scratch_offsets[index]})", str(storage.scratch_rooms[index])]
    lines = ["    if (rows->output_h > 0) {"]
    if output in group.moved():
        bytes_of_row = row_bytes(program.tensors[output])
        lines.append(f"      keep_rows({place(output)}, rows, {bytes_of_row});")
    lines.append(
        ctext.call(f"op{index}", arguments, prefix=f"RUN({index}, ", tail=");", indent="      ")
    )
    lines.append("    }")
    return [*lines, "    ++rows;"] if index < group.last else lines


def _address(
    plan: ModelPlan, tensor: int, row: str, const: str, place: Callable[[int], str]
) -> str:
    """The address of a row of a tensor."""
    entry = plan.program.tensors[tensor]
    pointer = f"({const}{ctext.c_type(entry.dtype)} *){place(tensor)}"
    return f"{pointer} + {row} * {row_bytes(entry)}"


def _strips(group: Group) -> list[dict[int, tuple[Call, Move | None]]]:
    """By strip and operator, the call and the move of its output ahead of the call."""
    strips: list[dict[int, tuple[Call, Move | None]]] = [{}]
    move = None
    for step in group.steps:
        if isinstance(step, Move):
            move = step
            continue
        strips[-1][step.op] = step, move
        move = None
        if step.op == group.last:
            strips.append({})
    return strips[:-1]


def _row(entry: tuple[Call, Move | None] | None) -> str:
    if entry is None:
        return "{{0, 0}, 0, 0, 0, 0, 0, 0}"
    call, move = entry
    first = [rows.first for rows in call.inputs] + [0]
    kept = (0, 0) if move is None else (move.first, move.count)
    height = max(rows.count for rows in call.inputs)
    numbers = (height, call.pad_top, call.output.first, call.output.count, *kept)
    return f"{{{{{first[0]}, {first[1]}}}, {', '.join(map(str, numbers))}}}"
