"""Training runs that tests start in processes of their own, to kill them or to spread them.

python long_runs.py resumable FOLDER KILL_STEP      trains until it kills itself
python long_runs.py distributed STRATEGY OUT.npz    trains under tf.distribute, saves all variables
"""

import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from nested_keras import callbacks, runs
from nested_keras.distillation import Distillation
from nested_keras.nesting import layers, model
from tests.nested_keras import nets

SPARSITIES = (0.75, 0.5, 0.25)


def schedule(step):
    return step % 3 == 0, 0.75 * min(1.0, step / 13)


schedule.final_sparsity = 0.75
schedule.end_step = 13


def images(count=16):
    return nets.images(count), np.random.default_rng(1).integers(0, 3, count)


def mirror(x, rng):
    return np.where(rng.random((len(x), 1, 1, 1)) < 0.5, x[:, :, ::-1], x)


def compiled(**kwargs):
    """A net with BatchNorm and dropout: random state that has to survive."""
    x = inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(x)
    x = keras.layers.Conv2D(6, 3, name="hidden", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    x = keras.layers.Dropout(0.3, seed=7)(keras.layers.GlobalAveragePooling2D()(x))
    base = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="long")
    nested = model.nest(nets.randomise(base, seed=0), SPARSITIES)
    nested.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 20)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        distillation=Distillation(in_place=True),
        routing=keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.25),
        **kwargs,
    )
    return nested


def train_resumable(folder, *, more=(), epochs=5):
    """Five epochs of four steps, backed up and recorded in a folder."""
    nested = compiled(sandwich=True)
    x, y = images()
    data = runs.EpochShuffled(nested, x, y, batch_size=4, seed=3, augment=mirror)
    backup = keras.callbacks.BackupAndRestore(f"{folder}/backup", delete_checkpoint=False)
    record = runs.RunDirectory(folder, data=(x, y), config={"seed": 3})
    pruning = callbacks.NestedPruning(schedule, regrow=True)
    calls = [backup, pruning, *more, record]
    kwargs = {"shuffle": False, "validation_data": (x, y), "verbose": 0}
    nested.fit(data, epochs=epochs, callbacks=calls, **kwargs)
    return nested


class Kill(keras.callbacks.Callback):
    """Ends the process as a power cut does, before a step is trained."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train_distributed(strategy):
    """Two epochs of four steps of eight images, four for each of two replicas."""
    with strategy.scope():
        nested = compiled()
    x, y = images(32)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    nested.fit(
        batches.with_options(options),
        epochs=4,
        verbose=0,
        callbacks=[
            callbacks.NestedPruning(schedule),
            callbacks.BatchNormReestimation(x, batch_size=16),
        ],
    )
    return nested


def main():
    command, first, second = sys.argv[1:]
    if command == "resumable":
        train_resumable(first, more=[Kill(int(second))])
        raise SystemExit(f"not killed at step {second}")
    if first == "mirrored":
        (device,) = tf.config.list_physical_devices("CPU")
        logical = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(device, [logical, logical])
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    nested = train_distributed(strategy)
    logs = {f"level_map/{layer.name}": layer.level_map.numpy() for layer in nested.nested_layers}
    weights = {v.path: v.numpy() for v in nested.trainable_variables}
    norms = [x for x in nested.layers if isinstance(x, layers.NestedBatchNormalization)]
    weights |= {v.path: v.numpy() for norm in norms for v in norm.non_trainable_variables}
    np.savez(second, **logs, **weights)


if __name__ == "__main__":
    main()
