"""tflm_ops/tflm/abi against the binary interface of the pinned PyPI package tflite-micro."""

import ctypes
import importlib.metadata

import pytest

from nested_keras.devices import tflm_host

_runtime = pytest.importorskip(
    "tflite_micro.python.tflite_micro._runtime",
    reason="needs the package tflite-micro (pip install 'nested_keras[tflm]')",
    exc_type=ImportError,
)

CONTEXT = "_ZN6tflite23MicroInterpreterContext"
# The virtual functions declared in tflm_abi.h after the two destructors, in order.
VIRTUAL_FUNCTIONS = (
    "24AllocatePersistentBufferEm",
    "27RequestScratchBufferInArenaEmPi",
    "16GetScratchBufferEi",
    "24AllocateTempTfLiteTensorEi",
    "26DeallocateTempTfLiteTensorEP12TfLiteTensor",
    "18AllocateTempBufferEmm",
    "20DeallocateTempBufferEPh",
    "13GetEvalTensorEi",
    "20set_external_contextEPv",
    "16external_contextEv",
)


@pytest.fixture(scope="module")
def library():
    return ctypes.CDLL(_runtime.__file__)


def address(library, symbol):
    return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value


def test_the_pinned_version_is_installed():
    assert importlib.metadata.version("tflite-micro") == tflm_host.WHEEL_VERSION


def test_the_virtual_functions_stand_where_they_are_declared(library):
    # Offset to top, type information, and the two destructors come first.
    table = address(library, "_ZTVN6tflite23MicroInterpreterContextE") + 4 * 8
    slots = (ctypes.c_void_p * len(VIRTUAL_FUNCTIONS)).from_address(table)
    for slot, name in zip(slots, VIRTUAL_FUNCTIONS, strict=True):
        assert slot == address(library, CONTEXT + name), name


def test_types_are_global_as_declared(library):
    # The names of the types are part of these symbols.
    for symbol in (
        "_ZN6tflite5micro12GetEvalInputEPK13TfLiteContextPK10TfLiteNodei",
        "_ZN6tflite5micro13GetEvalOutputEPK13TfLiteContextPK10TfLiteNodei",
        "_Z11MicroPrintfPKcz",
    ):
        assert address(library, symbol)
