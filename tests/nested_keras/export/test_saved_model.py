import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from nested_keras import export
from nested_keras.nesting import model
from tests.nested_keras import nets

pytestmark = pytest.mark.slow

L = keras.layers
ALONE = """if True:
    import sys
    sys.modules.update({"nested_keras": None, "keras": None})
    import numpy as np
    import tensorflow as tf
    folder, x, *want = sys.argv[1], *(np.load(path) for path in sys.argv[2:])
    loaded = tf.saved_model.load(folder)
    by_name = loaded.signatures["serving_default"]
    for level, outputs in enumerate(want):
        got = loaded.serve(x, level)
        np.testing.assert_allclose(got, outputs, rtol=1e-5, atol=1e-6)
        (named,) = by_name(image=tf.constant(x), level=tf.constant([level])).values()
        np.testing.assert_array_equal(named, got)
"""


def pruned(net):
    nested = model.nest(net, (0.9, 0.6, 0.3))
    nested.prune()
    return nested


def test_tensorflow_alone_runs_every_level(tmp_path):
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.BatchNormalization()(L.Conv2D(8, 3)(L.Conv2D(6, 3, activation="relu")(inputs)))
    x = L.Dropout(0.5)(L.GlobalAveragePooling2D()(x))
    nested = pruned(keras.Model(inputs, L.Dense(4)(x)))
    export.to_saved_model(nested, tmp_path / "new" / "saved")
    batch = nets.images(5, (8, 8, 3))
    outputs = [nested.at_level(level)(batch).numpy() for level in range(3)]
    assert not np.allclose(outputs[0], outputs[2])
    files = []
    for index, array in enumerate([batch, *outputs]):
        files.append(str(tmp_path / f"{index}.npy"))
        np.save(files[-1], array)
    folder = str(tmp_path / "new" / "saved")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["saved"]
    subprocess.run([sys.executable, "-c", ALONE, folder, *files], check=True)


def test_inputs_and_outputs_keep_their_structure(tmp_path):
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    hidden = L.Concatenate()([L.Dense(8, "relu")(a), L.Dense(8, "relu")(b)])
    outputs = {"one": L.Dense(8, name="one")(hidden), "two": L.Dense(2, name="two")(hidden)}
    nested = pruned(keras.Model({"a": a, "b": b}, outputs))
    export.to_saved_model(nested, tmp_path / "saved")
    export.to_saved_model(nested, tmp_path / "saved")  # replaces the first
    x = [nets.images(3, (4,)), nets.images(3, (6,))]
    loaded = tf.saved_model.load(tmp_path / "saved")
    got = loaded.serve(*x, tf.constant([1]))
    want = nested.at_level(1)({"a": x[0], "b": x[1]})
    assert set(got) == {"one", "two"}
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-5, atol=1e-6)


def test_bad_levels_names_and_paths_are_refused(tmp_path):
    nested = pruned(nets.dense_net())
    export.to_saved_model(nested, tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    for level in (-1, 3):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"level must be in 0\.\.2"):
            loaded.serve(nets.images(2, (12,)), level)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(export.ExportError, match=r"new or a SavedModel to replace: got .*file"):
        export.to_saved_model(nested, tmp_path / "file")
    with pytest.raises(export.ExportError, match="expected a NestedModel"):
        export.to_saved_model(nets.dense_net(), tmp_path / "other")
    level = keras.Input((4,), name="level")
    net = keras.Model(level, L.Dense(2)(L.Dense(4)(L.Dense(4)(level))))
    with pytest.warns(UserWarning, match="an input must not be named 'level'"):
        named = pruned(net)
    with pytest.raises(export.ExportError, match="other names than 'level'"):
        export.to_saved_model(named, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "saved"]
