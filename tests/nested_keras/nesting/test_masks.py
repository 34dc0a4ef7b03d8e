import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nested_keras.nesting import masks

SHAPES = [(3, 3, 8, 5), (1, 1, 7, 3), (5, 5, 1, 2), (3, 3, 6, 1), (10, 4), (1, 1), (13, 3)]
BLOCKS = [(1, 1), (1, 2), (1, 4)]


def block_norms(kernel, size):
    """The norms of the blocks, by a plain loop: (..., blocks along the input channels, out)."""
    starts = range(0, kernel.shape[-2], size)
    squares = [np.square(kernel[..., s : s + size, :]).sum(axis=-2) for s in starts]
    return np.sqrt(np.stack(squares, axis=-2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block_shape", BLOCKS)
@pytest.mark.parametrize("sparsities", [(0.9, 0.8, 0.7), (0.0,), (1.0, 0.0), (1.0,), (0.55, 0.3)])
def test_counts_are_exact_and_the_largest_blocks_are_kept(shape, block_shape, sparsities):
    kernel = np.random.default_rng(1).normal(size=shape).astype("float32")
    size = block_shape[1]
    found = masks.level_map(kernel, sparsities, block_shape=block_shape)
    assert found.dtype == np.uint8
    assert found.shape == shape
    norms = block_norms(kernel.astype("float64"), size)
    per_block = found[..., ::size, :]
    assert per_block.shape == norms.shape
    np.testing.assert_array_equal(
        np.repeat(per_block, size, axis=-2)[..., : shape[-2], :], found, "a block holds one value"
    )
    for level, sparsity in enumerate(sparsities):
        kept = per_block <= level
        assert kept.sum() == round((1 - sparsity) * norms.size)
        if kept.any() and not kept.all():
            assert norms[kept].min() > norms[~kept].max()


@given(
    seed=st.integers(0, 10_000),
    sparsities=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5)),
    block_shape=st.sampled_from(BLOCKS),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_levels_nest_and_survive_recomputation(seed, sparsities, shape, block_shape):
    sparsities = sorted(sparsities, reverse=True)
    kernel = np.random.default_rng(seed).normal(size=shape)
    found = masks.level_map(kernel, sparsities, block_shape=block_shape)
    assert found.max() <= len(sparsities)
    previous = np.zeros(shape, dtype=bool)
    for level in range(len(sparsities)):
        mask = found <= level
        assert (previous <= mask).all()
        previous = mask
    pruned = np.where(found < len(sparsities), kernel, 0)
    np.testing.assert_array_equal(
        masks.level_map(pruned, sparsities, block_shape=block_shape), found
    )


@given(
    seed=st.integers(0, 10_000),
    sparsities=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    ratio=st.floats(0, 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5)),
    block_shape=st.sampled_from(BLOCKS),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_along_a_ramp_a_level_only_loses_blocks_its_weakest(
    seed, sparsities, ratio, shape, block_shape
):
    sparsities = sorted(sparsities, reverse=True)
    rng = np.random.default_rng(seed)
    first = [ratio * sparsity for sparsity in sparsities]
    before = masks.level_map(rng.normal(size=shape), first, block_shape=block_shape)
    kernel = rng.normal(size=shape)  # the weights have moved since
    after = masks.level_map(kernel, sparsities, block_shape=block_shape, within=before)
    assert (after >= before).all()
    norms = block_norms(kernel, block_shape[1])
    before, after = (each[..., :: block_shape[1], :] for each in (before, after))
    for level, sparsity in enumerate(sparsities):
        assert (after <= level).sum() == round((1 - sparsity) * norms.size)
        taken, passed = after == level, (before <= level) & (after > level)
        if taken.any() and passed.any():
            assert norms[taken].min() > norms[passed].max()


def test_a_level_takes_what_it_had_and_then_the_strongest():
    kernel = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    before = np.array([[0, 2, 1, 2, 1, 2]], np.uint8)
    found = masks.level_map(kernel, (0.5, 1 / 3), within=before)
    np.testing.assert_array_equal(found, [[0, 2, 1, 2, 0, 0]], "level 0 takes 1, then 6 and 5")
    found = masks.level_map(kernel, (5 / 6, 1 / 3), within=before)
    np.testing.assert_array_equal(found, [[0, 2, 1, 2, 1, 1]], "level 1 takes 5 and 3, then 6")


def test_equal_weights_are_taken_in_memory_order():
    found = masks.level_map(np.ones((2, 4)), (0.75, 0.5))
    np.testing.assert_array_equal(found, [[0, 0, 1, 1], [2, 2, 2, 2]])


def test_signs_do_not_matter_and_a_short_block_is_a_block():
    kernel = np.array([[3.0], [-3.0], [1.0], [1.0], [-4.0]])
    found = masks.level_map(kernel, (2 / 3, 1 / 3), block_shape=(1, 2))
    np.testing.assert_array_equal(found.ravel(), [0, 0, 2, 2, 1])


def test_equal_sparsities_make_equal_levels():
    found = masks.level_map(np.arange(10.0).reshape(5, 2), (0.5, 0.5))
    assert set(found.ravel()) == {0, 2}


def test_sparsity_counts_all_kernels_together():
    maps = [np.array([0, 1, 2, 2], np.uint8), np.zeros((2, 3), np.uint8)]
    assert masks.sparsity(maps, 0) == 3 / 10
    assert masks.sparsity(maps, 1) == 2 / 10


@pytest.mark.parametrize(
    ("sparsities", "message"),
    [
        ((0.7, 0.9), r"must decrease strictly \(level 0 is the sparsest\): got \(0.7, 0.9\)"),
        ((0.9, 0.9), r"must decrease strictly .*: got \(0.9, 0.9\)"),
        ((1.1, 0.5), r"must lie in \[0, 1\]: got \(1.1, 0.5\)"),
        ((0.5, -0.1), r"must lie in \[0, 1\]: got \(0.5, -0.1\)"),
        ((float("nan"),), r"must lie in \[0, 1\]: got \(nan,\)"),
        ((), "must have 1 to 16 entries: got 0"),
        (np.linspace(1, 0, 17), "must have 1 to 16 entries: got 17"),
    ],
)
def test_wrong_sparsities_are_refused(sparsities, message):
    with pytest.raises(ValueError, match=message):
        masks.check_sparsities(sparsities)


def test_right_sparsities_come_back_as_floats():
    assert masks.check_sparsities(np.array([1, 0])) == (1.0, 0.0)
    assert len(masks.check_sparsities(np.linspace(1, 0, 16))) == 16


@pytest.mark.parametrize("block_shape", [(2, 1), (1, 3), (1,), (4, 4)])
def test_wrong_block_shapes_are_refused(block_shape):
    with pytest.raises(ValueError, match=r"block_shape must be one of .*: got \("):
        masks.check_block_shape(block_shape)
