import importlib
import sys

import pytest

import nested_keras
from nested_keras import datasets, extras


@pytest.mark.parametrize(
    ("package", "module", "use", "message"),
    [
        ("keras", "model", lambda: nested_keras.nest, "nested_keras.nest needs the package keras"),
        (
            "tensorflow",
            "layers",
            lambda: nested_keras.layers,
            "nested_keras.layers needs the package tensorflow: pip install 'nested_keras.train.'",
        ),
        (
            "sklearn",
            None,
            datasets.digits,
            "digits needs the package scikit-learn: pip install 'nested_keras.demo.'",
        ),
    ],
)
def test_a_missing_package_is_named_with_its_extra(package, module, use, message, monkeypatch):
    nesting = importlib.import_module("nested_keras.nesting")
    importlib.import_module("nested_keras.nesting.model")
    monkeypatch.setitem(sys.modules, package, None)
    if module:
        monkeypatch.delitem(sys.modules, f"nested_keras.nesting.{module}")
        monkeypatch.delattr(nesting, module, raising=False)
    with pytest.raises(ModuleNotFoundError, match=message):
        use()


def test_what_no_extra_brings_is_left_as_it_is():
    error = ModuleNotFoundError("No module named 'nonsense'", name="nonsense")
    assert extras.missing(error, "something") is error
