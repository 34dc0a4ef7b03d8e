import ctypes
import re

import numpy as np
import pytest

from nested_keras.runtime import litert_abi

pytestmark = pytest.mark.slow


def make_tensor(values: np.ndarray, *, kind: int, allocation: int = 2) -> litert_abi.TfLiteTensor:
    """A TfLiteTensor over NumPy memory; the caller keeps `values` alive."""
    dims = litert_abi.new_int_array(*values.shape)
    tensor = litert_abi.TfLiteTensor(
        type=kind,
        data=values.ctypes.data,
        dims=ctypes.cast(dims, ctypes.POINTER(ctypes.c_int)),
        allocation_type=allocation,
        bytes=values.nbytes,
        name=b"probe",
        params=litert_abi.QuantizationParams(0.5, -3),
    )
    tensor.keep_alive = (values, dims)
    return tensor


def test_sizes_are_those_of_tflites_headers() -> None:
    litert_abi.check_platform()


def test_a_platform_with_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(litert_abi._SIZES, litert_abi.TfLiteTensor, 64)
    with pytest.raises(litert_abi.LayoutError, match="TfLiteTensor has 64 bytes: here it has 112"):
        litert_abi.check_platform()


def test_describe_and_view() -> None:
    values = np.arange(6, dtype=np.int8).reshape(2, 3)
    tensor = make_tensor(values, kind=9)
    found = litert_abi.describe(tensor)
    assert (found.name, found.shape, found.dtype) == ("probe", (2, 3), "int8")
    assert (found.scale, found.zero_point) == (0.5, -3)
    litert_abi.view(tensor)[1, 2] = 99
    assert values[1, 2] == 99


def test_int_arrays() -> None:
    array = litert_abi.new_int_array(4, 5, 6)
    assert litert_abi.int_array(ctypes.cast(array, ctypes.POINTER(ctypes.c_int))) == (4, 5, 6)
    assert litert_abi.int_array(ctypes.POINTER(ctypes.c_int)()) == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"type": 77}, "got type 77 and 2 dimensions; this interpreter's C structures differ"),
        ({"bytes": 5}, "of shape [2, 3] must have 6 bytes: its TfLiteTensor says 5"),
        ({"data": None}, "tensor 'probe' has no memory yet"),
    ],
)
def test_contradictions_are_errors(changes: dict[str, int], text: str) -> None:
    tensor = make_tensor(np.zeros((2, 3), np.int8), kind=9)
    for name, value in changes.items():
        setattr(tensor, name, value)
    with pytest.raises(litert_abi.LayoutError, match=re.escape(text)):
        litert_abi.view(tensor)


def test_constants() -> None:
    values = np.arange(4, dtype=np.uint8)
    assert litert_abi.constant(make_tensor(values, kind=3, allocation=1)) == b"\0\1\2\3"
    with pytest.raises(
        litert_abi.LayoutError, match=r"must be a uint8 constant .*allocation type 2"
    ):
        litert_abi.constant(make_tensor(values, kind=3, allocation=2))
