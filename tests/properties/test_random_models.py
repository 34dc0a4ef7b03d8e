"""Random networks from the whole table of layers go the whole way, 50 side by side."""

import pytest

from nested_keras.nesting.entries import ENTRIES
from tests.properties import drawing, found, random_models
from tests.properties.random_models import FOREST

pytestmark = pytest.mark.slow
NETWORKS = 500
# `make test` tries so many of them, `make test-large` all.
FEW = 100


@pytest.fixture(autouse=True)
def _compiled_once(object_cache, monkeypatch):
    monkeypatch.setattr(random_models, "object_cache", object_cache)


@pytest.mark.filterwarnings("ignore")  # some arguments and masks are odd on purpose
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=pytest.mark.large if first >= FEW else ())
        for first in range(0, NETWORKS, FOREST)
    ],
)
def test_random_networks(first):
    """`python -m tests.properties.random_models SEED` shows and checks a network that fails."""
    outcome = random_models.Outcome()
    random_models.run(range(first, first + FOREST), outcome)
    assert outcome.tried == FOREST
    assert not outcome.failed, "\n\n".join(outcome.failed.values())


@pytest.mark.filterwarnings("ignore")
def test_networks_that_once_failed():
    """All side by side; a failure names the network by its position in the list."""
    random_models.check([drawing.read(seed, text) for seed, text in enumerate(found.NETWORKS)])


@pytest.mark.large
def test_the_networks_have_every_kind_of_layer():
    """Drawn without `nest`, so that nothing but the draws is seen."""
    kinds = set()
    for seed in range(NETWORKS):
        kinds |= drawing.draw(seed).kinds
    effective = {kind for kind in drawing.KINDS if ENTRIES[kind].read and drawing.weight(kind)}
    assert effective <= kinds, effective - kinds


def test_a_wrong_layer_is_found(monkeypatch):
    """A transposed product in the graph of export, and only the networks that have one."""
    from nested_keras.export import plain_layers

    monkeypatch.setitem(plain_layers._FUNCTIONS, "tanh", lambda x: 0.8 * plain_layers.tf.tanh(x))
    text = """
i0 = keras.Input(shape=(6,), name='n0_i0')
x0 = L.Dense(3, activation='tanh', name='n0_0')(i0)
model = keras.Model([i0], [x0])
"""
    with pytest.raises(Exception, match="level 0"):
        random_models.check([drawing.read(0, text)])
