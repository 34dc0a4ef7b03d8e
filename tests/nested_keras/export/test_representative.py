import numpy as np
import pytest

from nested_keras.export.export_errors import ExportError
from nested_keras.export.representative import MAX_EXAMPLES, collect
from nested_keras.nesting.input_forms import InputKey, keys_of

pytestmark = pytest.mark.slow

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
        lambda: iter(batches(X)),
        (X, np.zeros(6)),
        (X, np.zeros(6), np.ones(6)),
        [(x, np.zeros(2), np.ones(2)) for x in batches(X)],
        [[x] for x in batches(X)],
        [{"image": x, "label": 0} for x in batches(X)],
        [({"image": x}, np.zeros(2)) for x in batches(X)],
        {"image": X},
        lambda: ({"image": x} for x in batches(X)),
    ],
)
def test_every_form_gives_the_same_examples(dataset):
    if isinstance(dataset, list) and len(dataset) == 3 and not isinstance(dataset[0], tuple):
        dataset = iter(dataset)  # a list of arrays stands for the model's inputs
    (array,) = collect(dataset, [(2, 2)], [InputKey((), "image")])
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, X)


def test_several_inputs():
    a, b = np.ones((4, 3)), np.zeros((4, 2))
    for dataset in ([a, b], iter([((a, b), np.zeros(4))]), iter([(a, b)]), lambda: [[a, b]]):
        first, second = collect(dataset, [(3,), (2,)])
        np.testing.assert_array_equal(first, a)
        np.testing.assert_array_equal(second, b)


def batch_sizes(dataset, **kwargs):
    return len(collect(dataset, [(2, 2)], **kwargs)[0])


def test_what_has_no_end_ends():
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")

    def forever():
        while True:
            yield X

    class Forever(keras.utils.PyDataset):
        def __getitem__(self, index):
            return X, np.zeros(6)

        @property
        def num_batches(self):
            return None

    class Thrice(Forever):
        def __len__(self):
            return 3

    read = -(-MAX_EXAMPLES // 6) * 6
    assert batch_sizes(forever()) == read
    assert batch_sizes(forever) == read
    assert batch_sizes(tf.data.Dataset.from_tensor_slices(X).batch(6).repeat()) == read
    assert batch_sizes(Forever()) == read
    assert batch_sizes(Thrice()) == 18
    assert batch_sizes(iter([np.zeros((0, 2, 2))] * 3 + [X])) == 6


def test_what_has_an_end_is_read_whole():
    tf = pytest.importorskip("tensorflow")
    many = np.zeros((MAX_EXAMPLES + 10, 2, 2), np.float32)
    for dataset in (many, [[many[:10]], [many[10:]]], tf.data.Dataset.from_tensors(many)):
        assert batch_sizes(dataset) == len(many)


@pytest.mark.parametrize("nested", [False, True])
def test_inputs_are_found_by_name_and_by_structure(nested):
    keras = pytest.importorskip("keras")
    a, b = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    structure = [a, {"deep": [b]}] if nested else {"left": a, "right": b}
    sums = keras.layers.Concatenate()([a, b])
    model = keras.Model(structure, sums)
    x, y = np.ones((4, 3)), np.zeros((4, 2))
    keys, shapes = keys_of(model), [tuple(t.shape[1:]) for t in model.inputs]
    by_structure = [x, {"deep": [y]}] if nested else {"left": x, "right": y}
    in_order = [x if shape == (3,) else y for shape in shapes]
    for one in (by_structure, {"left": x, "right": y, "id": np.array(["a"] * 4)}, in_order):
        for dataset in (one, [(one, 0)], (one, np.zeros(4), np.ones(4)), iter([one])):
            found = collect(dataset, shapes, keys)
            assert [array.shape[1:] for array in found] == shapes
            assert [array.mean() for array in found] == [v.mean() for v in in_order]
    with pytest.raises(ExportError, match=r"one per model input .*'left'.*: got a dict of 'left'"):
        collect({"left": x}, shapes, keys)


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
        ((X, X, X, X), "1 array.* per batch, one per model input: got 4"),
        ({"other": X}, "1 array.* per batch, one per model input: got a dict of 'other'"),
        (np.array(["a", "b"]), "must hold arrays of real numbers: got <U1"),
        (np.zeros((1, 2, 2), complex), "must hold arrays of real numbers: got complex128"),
        (np.full((1, 2, 2), 1e300), "must be finite: got NaN or infinity"),
        ([X, X], "1 array.* per batch, one per model input: got 2"),
        (7, "must be an array, a dict of arrays, an iterable of .*: got int"),
    ],
)
def test_refusals(dataset, message):
    with pytest.raises(ExportError, match=message):
        collect(dataset, [(2, 2)])


def test_inputs_must_have_as_many_examples():
    with pytest.raises(ExportError, match=r"equal numbers of examples to all inputs: got \[3, 4\]"):
        collect([np.zeros((3, 1)), np.zeros((4, 1))], [(1,), (1,)])
