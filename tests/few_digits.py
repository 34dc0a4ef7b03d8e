"""A few of the digits: enough for each step of a page or a notebook to run, and soon done."""

import dataclasses

from nested_keras import datasets

_TRAIN, _TEST = 200, 100


def digits():
    """What `datasets.digits` returns, cut short."""
    return dataclasses.replace(
        _ALL,
        x_train=_ALL.x_train[:_TRAIN],
        y_train=_ALL.y_train[:_TRAIN],
        x_test=_ALL.x_test[:_TEST],
        y_test=_ALL.y_test[:_TEST],
    )


_ALL = datasets.digits()
