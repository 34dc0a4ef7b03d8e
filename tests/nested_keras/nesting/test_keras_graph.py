import sys

import keras
import pytest

import nested_keras
from nested_keras import nesting
from nested_keras.nesting import keras_graph
from tests.nested_keras import nets


def test_another_backend_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    # As in a process that has not imported the layers yet.
    for name in ("layers", "trainer", "model"):
        monkeypatch.delitem(sys.modules, f"nested_keras.nesting.{name}", raising=False)
        monkeypatch.delattr(nesting, name, raising=False)
    with pytest.raises(RuntimeError) as caught:
        nested_keras.nest  # noqa: B018
    assert str(caught.value) == (
        "nested_keras trains and exports with Keras's TensorFlow backend only: got the backend "
        "'jax'; set KERAS_BACKEND=tensorflow before Keras is imported"
    )


def test_a_sequential_model_is_a_functional_one_of_the_same_layers():
    base = nets.sequential()
    found = keras_graph.functional(base)
    assert not isinstance(found, keras.Sequential)
    assert found.name == base.name
    assert [id(layer) for layer in found.layers[1:]] == [id(layer) for layer in base.layers]
    assert found.input is base.inputs[0]
    assert found.output is base.outputs[0]


def test_a_graph_runs_with_other_calls():
    base = nets.residual()
    called = []

    def call(operation):
        called.append(operation.name)
        return operation

    inputs = keras.Input((6, 6, 3))
    outputs = keras_graph.run_graph(base, inputs, call)
    assert sorted(called) == sorted(o.name for o in base.operations[1:])
    assert keras_graph.source(outputs)[0] is base.layers[-1]
