"""Print <name>.h, the header of a generated library."""

from __future__ import annotations

from nested_keras.codegen import ctext, weights_source
from nested_keras.codegen.detection_source import DetectionSource
from nested_keras.codegen.model_plan import ModelPlan
from nested_keras.codegen.templating import fill
from nested_keras.tflite import program as ir

ARENA_ALIGNMENT = 4
"""The arena begins at a multiple of this many bytes: the most that a kernel asks of its scratch
memory, and no more than any malloc() gives."""

WEIGHTS_ALIGNMENT = 4
"""A file of weights begins at a multiple of this many bytes: NK_WEIGHTS_ALIGNMENT."""


def print_header(plan: ModelPlan, banner: str, detection: DetectionSource | None) -> str:
    """Prints <name>.h.

    Args:
        plan: The model.
        banner: The comment that begins the text.
        detection: The search for boxes of a detector.
    """
    lines = [
        f"#define {plan.upper}_LEVELS {plan.program.levels}",
        f"#define {plan.upper}_OP_COUNT {len(plan.program.ops)}",
        "/* The arena in bytes, planned offline, with room for inputs and outputs. */",
        f"#define {plan.upper}_ARENA_SIZE {plan.storage.arena_bytes}",
        f"#define {plan.upper}_ARENA_ALIGNMENT {ARENA_ALIGNMENT}",
        "/* Stack in bytes under any function below: Cortex-M7, gcc 12 at -O2 or -Os. */",
        f"#define {plan.upper}_STACK_SIZE {plan.sizes().stack_bytes}",
    ]
    if plan.external is not None:
        lines.append(f"#define {plan.upper}_WEIGHTS_ALIGNMENT {WEIGHTS_ALIGNMENT}")
    for names, indices in (
        (plan.input_names, plan.program.inputs),
        (plan.output_names, plan.program.outputs),
    ):
        for label, index in zip(names, indices, strict=True):
            lines += ["", *_tensor_macros(plan, label, plan.program.tensors[index])]
    includes = ["include/nk_status.h"]
    places = [f"{head}(void);" for head, _ in plan.io_places()]
    places_in = [f"{head}_in(void *arena);" for head, _ in plan.io_places()]
    if detection is not None:
        includes.insert(0, "include/nk_detection.h")
        lines += ["", detection.macros]
        places += ["", detection.declaration]
        places_in += ["", detection.declaration_in]
    return fill(
        "codegen",
        "model.h",
        banner=banner,
        upper=plan.upper,
        includes="\n".join(f'#include "{header}"' for header in includes),
        macros="\n".join(lines),
        invoke=plan.invoke_head(";"),
        invoke_in=plan.invoke_head(";", in_arena=True),
        places="\n".join(places),
        places_in="\n".join(places_in),
        check=_declarations_of_weights(plan),
    )


def _tensor_macros(plan: ModelPlan, label: str, tensor: ir.Tensor) -> list[str]:
    prefix = f"{plan.upper}_{label.upper()}"
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    lines = [
        ctext.comment(f"{tensor.name}: {tensor.dtype} {shape}; size in elements"),
        f"#define {prefix}_SIZE {tensor.size}",
    ]
    if tensor.dtype in ("int8", "uint8") and plan.external is not None:
        lines += weights_source.quantisation_macros(plan.name, label)
    elif tensor.dtype in ("int8", "uint8"):
        lines += [
            f"#define {prefix}_SCALE {ctext.float_literal(tensor.scale)}",
            f"#define {prefix}_ZERO_POINT {ctext.integer_literal(tensor.zero_point)}",
        ]
    return lines


def _declarations_of_weights(plan: ModelPlan) -> str:
    if plan.external is None:
        return weights_source.declaration_of_check(plan.name)
    return weights_source.declarations(plan.name, [label for label, _ in plan.ends()])
