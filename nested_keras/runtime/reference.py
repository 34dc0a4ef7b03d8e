"""Run a .tflite model with the NumPy kernels, which define the outputs of every other runtime."""

from __future__ import annotations

from nested_keras.runtime import interpreter
from nested_keras.runtime.larger_batch import keeps_samples_apart
from nested_keras.runtime.runner import AnyModel, Array, ModelRunner, load_program

_VECTORIZED_SAMPLES = 16  # small enough for the int64 intermediates to stay in the cache


class ReferenceModel(ModelRunner):
    """A nested or plain int8 .tflite model in NumPy; needs neither TensorFlow nor a compiler.

    Example:
      >>> model = ReferenceModel("model.tflite")  # doctest: +SKIP
      >>> y = model.run(x, level=0)  # doctest: +SKIP
    """

    def __init__(self, model: AnyModel) -> None:
        """Prepares the model.

        Args:
            model: The bytes or the path of the .tflite file, or its prepared graph.

        Raises:
            ModelError: If the model cannot be run (see `lower`).
        """
        self._program = load_program(model)
        super().__init__(self._program)
        self._samples = _VECTORIZED_SAMPLES if keeps_samples_apart(self._program) else 0

    @property
    def _chunk_size(self) -> int:
        return self._samples or super()._chunk_size

    def _run_batch(self, inputs: tuple[Array, ...], level: int) -> tuple[Array, ...]:
        return interpreter.run(self._program, inputs, level)
