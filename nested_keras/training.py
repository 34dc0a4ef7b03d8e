"""The train step of a nested model."""

from __future__ import annotations

import keras


class LevelTrainer(keras.Model):
    """Trains and evaluates all levels of a nested model together."""
