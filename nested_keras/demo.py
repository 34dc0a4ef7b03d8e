"""Train, nest, export and run real data on the PC and on an emulated Cortex-M7."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nested_keras import datasets, export, files, firmware, report
from nested_keras.datasets import Dataset
from nested_keras.report import (
    DenseResult,
    LevelResult,
    Report,
    TargetRun,
    level_sizes,
    run_levels,
)
from nested_keras.typing import KerasModel, KerasTensor, Logs

Number = TypeVar("Number", int, float)

OUTPUTS = (
    "base.keras",
    "data.npz",
    "nested.keras",
    "model.tflite",
    "firmware.elf",
    "report.json",
    "report.html",
)
"""The files that the demo leaves behind."""

_TITLE = "nested_keras demo: handwritten digits on an emulated Cortex-M7"


@dataclass(frozen=True)
class DemoConfig:
    """The settings of the demo.

    Attributes:
        sparsities: Share of zeros per level, sparsest first.
        dense_epochs: Epochs of the dense model, from which the levels start.
        nested_epochs: Epochs of nested training.
        device_images: Test images that run on the emulated device, at every level.
        seed: Seed of everything random.
    """

    sparsities: tuple[float, ...] = (0.95, 0.9, 0.8)
    dense_epochs: int = 25
    nested_epochs: int = 30
    device_images: int = 500
    seed: int = 0


def digits_convnet(width: int = 8) -> Any:
    """Returns a residual convnet for 8x8 grey images: two blocks, `width` and 2 * `width` channels.

    Args:
        width: Channels of the first block, 1 or more.

    Returns:
        An untrained functional Keras model, [n, 8, 8, 1] -> class probabilities [n, 10].
    """
    from keras import Input, Model, layers

    def conv(x: KerasTensor, channels: int, kernel: int, strides: int = 1) -> Any:
        x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def block(x: KerasTensor, channels: int, strides: int) -> Any:
        y = layers.ReLU()(conv(x, channels, 3, strides))
        y = conv(y, channels, 3)
        shortcut = x if strides == 1 else conv(x, channels, 1, strides)
        return layers.ReLU()(layers.Add()([y, shortcut]))

    image = Input((8, 8, 1), name="image")
    x = layers.ReLU()(conv(image, width, 3))
    x = block(x, width, 1)
    x = block(x, 2 * width, 2)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(10, activation="softmax")(x)
    return Model(image, x, name="digits_convnet")


def run(
    out_dir: Path,
    *,
    config: DemoConfig | None = None,
    say: Callable[[str], None],
    status: Callable[[str], None] | None = None,
) -> Report:
    """Runs the demo and leaves `OUTPUTS` in a folder.

    Args:
        out_dir: Folder for the results; created if missing.
        config: The settings; the defaults by default.
        say: Called with each line of progress.
        status: Called often with the present task; None to show nothing between the lines.

    Returns:
        The report, with the content of report.json.

    Raises:
        ImportError: If a package of the `demo` extra is missing.
        nested_keras.firmware.ToolchainError: If the cross compiler or the emulator is missing.
    """
    config = config or DemoConfig()
    # Check for the tools first, because training takes minutes.
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        firmware.find_tool(tool)
    out_dir.mkdir(parents=True, exist_ok=True)
    data = datasets.digits(seed=config.seed)
    say(f"Data: {len(data.x_train)} training and {len(data.x_test)} test images of 8x8 pixels")
    trained = _train(data, config, say, status)
    _write_for_commands(out_dir, data, trained)
    say("\nExporting: fold, calibrate, convert, quantise, pack, verify every level")
    calibration = data.x_train[:200]
    nested = export.to_tflite(trained.nested, representative_dataset=calibration)
    dense = _dense_tflite(trained.dense, calibration)
    files.write_bytes(out_dir / "model.tflite", nested)
    say(f"  model.tflite: {len(nested):,} bytes; the dense model alone: {len(dense):,}")

    say(f"Running {len(data.x_test)} images on the PC at every level (LiteRT)")
    x, y = data.x_test, data.y_test
    on_pc = [run_levels(m, x, y, target="litert", progress=status) for m in (nested, dense)]
    say(f"Running {config.device_images} images on the emulated Cortex-M7 at every level (QEMU)")
    x, y = x[: config.device_images], y[: config.device_images]
    on_device = [
        run_levels(model, x, y, target="qemu", build_dir=out_dir / name, progress=status)
        for model, name in ((nested, "firmware"), (dense, "firmware_dense"))
    ]
    for target_run in (*on_pc, *on_device):
        _require_no_mismatch(target_run)
    elf = out_dir / "firmware" / "firmware.elf"
    files.write_bytes(out_dir / elf.name, elf.read_bytes())
    result = Report(
        title=_TITLE,
        levels=_level_rows(nested, trained, on_pc[0], on_device),
        dense=_dense_row(dense, trained, on_pc[1], on_device[1]),
        facts=_facts(data, config, (nested, dense), on_device[0]),
    )
    files.write_text(out_dir / "report.json", json.dumps(result.to_dict(), indent=2) + "\n")
    files.write_text(out_dir / "report.html", report.render_html(result))
    return result


def _facts(
    data: Dataset, config: DemoConfig, models: tuple[bytes, bytes], on_device: TargetRun
) -> dict[str, str | int | float]:
    """Returns the facts beside the table; `models` are the nested and the dense .tflite."""
    nested, dense = models
    any_level = on_device.levels[0]
    return {
        "data set": "UCI handwritten digits, as shipped by scikit-learn",
        "training images": len(data.x_train),
        "test images on the PC": len(data.x_test),
        "test images on the device": on_device.inputs,
        "board": "mps2-an500 (Cortex-M7) under QEMU, -icount shift=0",
        "model.tflite bytes": len(nested),
        "dense model bytes": len(dense),
        "firmware code and constants, bytes": any_level.flash_bytes or 0,
        "arena bytes": any_level.arena_bytes or 0,
        "seed": config.seed,
    }


@dataclass(frozen=True, eq=False)
class _Trained:
    """The dense model, the nested model, and their accuracy in float."""

    dense: Any
    nested: Any
    dense_accuracy: float
    level_rows: list[dict[str, Any]]


def _train(
    data: Dataset,
    config: DemoConfig,
    say: Callable[[str], None],
    status: Callable[[str], None] | None,
) -> _Trained:
    import keras
    import tensorflow as tf

    from nested_keras import callbacks, recipe
    from nested_keras.nesting import model

    keras.utils.set_random_seed(config.seed)
    batch_size, loss = 32, "sparse_categorical_crossentropy"
    validation = (data.x_test, data.y_test)

    def dense_line(epoch: int, logs: Logs) -> None:
        logs = logs or {}
        done = f"epoch {epoch + 1:>2}/{config.dense_epochs}  loss {logs['loss']:.3f}"
        say(f"{done}  val accuracy {logs['val_accuracy']:.1%}")

    say(f"\nTraining the dense model, {config.dense_epochs} epochs")
    dense = digits_convnet()
    dense.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"], jit_compile=False)
    dense.fit(
        data.x_train,
        data.y_train,
        batch_size=batch_size,
        epochs=config.dense_epochs,
        validation_data=validation,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=dense_line)],
        verbose=0,
    )

    say(f"\nTraining {len(config.sparsities)} nested levels, {config.nested_epochs} epochs")
    nested = model.nest(dense, config.sparsities)
    nested.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"], routing=0.5)
    statistics = tf.data.Dataset.from_tensor_slices(data.x_train).batch(batch_size)
    nested.fit(
        data.x_train,
        data.y_train,
        batch_size=batch_size,
        epochs=config.nested_epochs,
        callbacks=[
            *recipe.callbacks(statistics, masks=callbacks.NestedPruning(frequency=20)),
            callbacks.LevelProgress(say=say, status=status),
        ],
        verbose=0,
    )
    return _Trained(
        dense=dense,
        nested=nested,
        dense_accuracy=float(dense.evaluate(*validation, verbose=0)[1]),
        level_rows=nested.evaluate_levels(*validation, verbose=0),
    )


def _write_for_commands(out_dir: Path, data: Dataset, trained: _Trained) -> None:
    """Writes the data and the models for `nested-keras train` and `export`."""
    arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    with files.replacing(out_dir / "data.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
    for model, name in ((trained.dense, "base.keras"), (trained.nested, "nested.keras")):
        with files.replacing(out_dir / name) as temporary:
            model.save(temporary)


def _dense_tflite(model: KerasModel, calibration: npt.NDArray[np.float32]) -> bytes:
    """Returns the converter's dense model, with builtin int8 operators only."""
    from nested_keras.nesting.model import nest

    exported = export.build(nest(model, sparsities=(0.0,)), representative_dataset=calibration)
    return exported.dense_tflite


def _require_no_mismatch(run: TargetRun) -> None:
    for level in run.levels:
        if level.mismatches_against_reference:
            raise RuntimeError(
                f"{run.target}, level {level.level}: expected the outputs of the NumPy reference, "
                f"got {level.mismatches_against_reference} other values"
            )


def _level_rows(
    model: bytes, trained: _Trained, on_pc: TargetRun, on_device: list[TargetRun]
) -> list[LevelResult]:
    nested_device, dense_device = on_device
    dense_instructions = _given(dense_device.levels[0].instructions)
    return [
        LevelResult(
            level=size.level,
            sparsity=row["sparsity"],
            nnz=size.nnz,
            weight_bytes=size.weight_bytes,
            accuracy_float=row["accuracy"],
            accuracy_int8=_given(pc.accuracy),
            accuracy_device=_given(device.accuracy),
            instructions=_given(device.instructions),
            speedup_over_dense=dense_instructions / _given(device.instructions),
        )
        for size, row, pc, device in zip(
            level_sizes(model), trained.level_rows, on_pc.levels, nested_device.levels, strict=True
        )
    ]


def _dense_row(
    model: bytes, trained: _Trained, on_pc: TargetRun, on_device: TargetRun
) -> DenseResult:
    (size,), (pc,), (device,) = level_sizes(model), on_pc.levels, on_device.levels
    return DenseResult(
        nnz=size.nnz,
        weight_bytes=size.weight_bytes,
        accuracy_float=trained.dense_accuracy,
        accuracy_int8=_given(pc.accuracy),
        accuracy_device=_given(device.accuracy),
        instructions=_given(device.instructions),
    )


def _given(value: Number | None) -> Number:
    """Returns a value that every run with labels on a counting target has."""
    if value is None:
        raise AssertionError("the demo runs with labels, and on a target that counts")
    return value
