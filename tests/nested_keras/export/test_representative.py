import numpy as np
import pytest

from nested_keras.export.errors import ExportError
from nested_keras.export.representative import collect

X = np.arange(24).reshape(6, 2, 2)


def batches(*arrays):
    return [array[start : start + 2] for array in arrays for start in (0, 2, 4)]


@pytest.mark.parametrize(
    "dataset",
    [
        X,
        [X],
        batches(X),
        iter(batches(X)),
        [(x, np.zeros(2)) for x in batches(X)],
        lambda: ([x] for x in batches(X)),
    ],
    ids=["array", "list of one array", "batches", "iterator", "pairs", "callable"],
)
def test_every_form_gives_the_same_examples(dataset):
    if isinstance(dataset, list) and len(dataset) == 3 and not isinstance(dataset[0], tuple):
        dataset = iter(dataset)  # a list of arrays stands for the model's inputs
    (array,) = collect(dataset, [(2, 2)])
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, X)


def test_several_inputs():
    a, b = np.ones((4, 3)), np.zeros((4, 2))
    for dataset in ([a, b], iter([((a, b), np.zeros(4))]), iter([(a, b)]), lambda: [[a, b]]):
        first, second = collect(dataset, [(3,), (2,)])
        np.testing.assert_array_equal(first, a)
        np.testing.assert_array_equal(second, b)


def test_tf_dataset_of_pairs():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((X, np.zeros(6))).batch(4)
    np.testing.assert_array_equal(collect(dataset, [(2, 2)])[0], X)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (np.zeros((5, 3, 2)), r"batches of shape \(n, 2, 2\): got \(5, 3, 2\)"),
        (np.zeros((2, 2)), r"batches of shape \(n, 2, 2\): got \(2, 2\)"),
        (np.zeros((0, 2, 2)), "at least one example: got none"),
        ([], "at least one batch: got none"),
        (iter([]), "at least one batch: got none"),
        (np.full((1, 2, 2), np.nan), "must be finite: got NaN or infinity"),
        (np.full((1, 2, 2), np.inf), "must be finite: got NaN or infinity"),
        (lambda: [X], "1 array.* per batch, one per model input: got ndarray"),
        ([X, X], "1 array.* per batch, one per model input: got 2"),
        (7, "must be an array, an iterable of batches or a callable: got int"),
    ],
)
def test_refusals(dataset, message):
    with pytest.raises(ExportError, match=message):
        collect(dataset, [(2, 2)])


def test_inputs_must_have_as_many_examples():
    with pytest.raises(ExportError, match=r"as many examples to every input: got \[3, 4\]"):
        collect([np.zeros((3, 1)), np.zeros((4, 1))], [(1,), (1,)])
