"""`nk_detection_s8` against the NumPy decoder, bit for bit, and what it refuses."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nested_keras.codegen import sources
from nested_keras.detection import decoding
from tests.nested_keras.detection.detectors import random_decoder, random_outputs
from tests.tflm_ops.library import Guarded, StatusError, pointer

FIELDS = (
    *(("anchors", ctypes.c_int32), ("classes", ctypes.c_int32)),
    *((name, ctypes.c_void_p) for name in ("anchor_table", "exp_table", "size_table")),
    *((name, ctypes.c_int32) for name in ("offset", "multiplier", "shift")),
    *((name, ctypes.c_int32) for name in ("score_threshold", "iou_threshold")),
    *((name, ctypes.c_int32) for name in ("max_candidates", "max_boxes")),
)
Params = type("Params", (ctypes.Structure,), {"_fields_": FIELDS})


def params_of(decoder):
    names = [name for name, kind in FIELDS[5:]]
    tables = (decoder.anchors, decoder.exp_table, decoder.size_table)
    return Params(
        len(decoder.anchors),
        decoder.classes,
        *(table.ctypes.data for table in tables),
        *(getattr(decoder, name) for name in names),
    )


def detect(nk, params, boxes, scores):
    """Calls the C function for one image, with buffers of just the right size."""
    size = nk.c.nk_detection_s8_get_buffer_size(ctypes.byref(params))
    scratch = Guarded((max(size, 8) // 8,), np.int64)
    found = Guarded((max(params.max_boxes, 1), 6), np.int32)
    count = ctypes.c_int32(-1)
    status = nk.c.nk_detection_s8(
        ctypes.byref(params),
        pointer(np.ascontiguousarray(boxes)),
        pointer(np.ascontiguousarray(scores)),
        pointer(scratch.array),
        ctypes.c_size_t(max(size, 0)),
        pointer(found.array),
        ctypes.byref(count),
    )
    assert scratch.is_intact()
    assert found.is_intact()
    if status:
        assert count.value == -1
    nk.check(status)
    return found.array[: count.value]


def assert_equal_boxes(nk, decoder, boxes, scores):
    (expected,) = decoder.detect(boxes, scores)
    found = detect(nk, params_of(decoder), boxes[0], scores[0])
    np.testing.assert_array_equal(found, expected)
    return expected


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([1, 2, 17, 120]),
    classes=st.sampled_from([1, 2, 20, 254]),
    spread=st.sampled_from([0, 1, 20, 127]),
    threshold=st.sampled_from([2.0**-24, 0.01, 0.3, 1.0]),
    iou=st.sampled_from([0.0, 0.5, 1.0]),
    limits=st.sampled_from([(1, 1), (5, 5), (4, 64), (100, 400)]),
)
def test_c_finds_the_boxes_of_numpy(nk, seed, count, classes, spread, threshold, iou, limits):
    rng = np.random.default_rng(seed)
    decoder = random_decoder(
        rng,
        count=count,
        classes=classes,
        score_threshold=threshold,
        iou_threshold=iou,
        max_boxes=limits[0],
        max_candidates=limits[1],
    )
    assert_equal_boxes(nk, decoder, *random_outputs(rng, decoder, spread=spread))


@pytest.mark.parametrize("value", [-128, -1, 0, 127])
@pytest.mark.parametrize("boxes_scale", [1e-30, 1e-6, 0.05, 3.0, 1e6])
def test_equal_and_saturated_values(nk, value, boxes_scale):
    rng = np.random.default_rng(5)
    decoder = random_decoder(rng, count=40, score_threshold=0.2, max_boxes=10)
    anchors = (decoder.anchors / 2**14).astype(np.float32)
    decoder = decoding.decoder(
        anchors, boxes_scale=boxes_scale, boxes_zero_point=int(value), scores_scale=0.1, classes=3,
        limits=decoding.Limits(score_threshold=0.2, max_boxes=10),
    )  # fmt: skip
    boxes = np.full((1, 40, 4), value, np.int8)
    for score in (-128, 0, 127):
        found = assert_equal_boxes(nk, decoder, boxes, np.full((1, 40, 4), score, np.int8))
        # All scores are 1/4: the first anchors come first.
        assert len(found) == 10
        assert found[:3, 5].tolist() == [0, 1, 2]
    extreme = np.where(np.arange(160) % 2, -128, 127).astype(np.int8).reshape(1, 40, 4)
    assert_equal_boxes(nk, decoder, extreme, extreme)


@pytest.fixture(name="call")
def fixture_call():
    rng = np.random.default_rng(1)
    decoder = random_decoder(rng)
    boxes, scores = random_outputs(rng, decoder)
    return decoder, params_of(decoder), boxes[0], scores[0]


OUT_OF_RANGE = {
    "anchors": (0, -1, 2**31 - 1),
    "classes": (0, 255, -1),
    "anchor_table": (None,),
    "exp_table": (None,),
    "size_table": (None,),
    "offset": (-128, 129),
    "multiplier": (-1,),
    "shift": (-32, 31),
    "score_threshold": (0, 2**24 + 1),
    "iou_threshold": (-1, 2**14 + 1),
    "max_candidates": (49, 2**15 + 1),
    "max_boxes": (0, 4097, 401),
}


def test_parameters_out_of_range_are_refused(nk, call):
    _, params, boxes, scores = call
    assert set(OUT_OF_RANGE) == {name for name, _ in FIELDS}
    for name, values in OUT_OF_RANGE.items():
        good = getattr(params, name)
        for value in values:
            setattr(params, name, value)
            wanted = "NK_ERROR_SHAPE" if name == "anchors" else "NK_ERROR_ARGUMENT"
            with pytest.raises(StatusError, match=wanted):
                detect(nk, params, boxes, scores)
        setattr(params, name, good)
    detect(nk, params, boxes, scores)


@pytest.mark.parametrize(("index", "value"), [(0, 0), (0, 2**24 - 1), (7, 2**24 + 1), (255, 2**31)])
def test_a_wrong_table_of_exponentials_is_refused(nk, call, index, value):
    decoder, params, boxes, scores = call
    decoder.exp_table[index] = value
    with pytest.raises(StatusError, match="NK_ERROR_ARGUMENT"):
        detect(nk, params, boxes, scores)


def test_null_pointers_and_small_buffers_are_refused(nk, call):
    _, params, boxes, scores = call
    size = nk.c.nk_detection_s8_get_buffer_size(ctypes.byref(params))
    assert size == 8 * params.max_candidates
    scratch, found = np.zeros(size // 4 + 1, np.int32), np.zeros((50, 6), np.int32)
    count = ctypes.c_int32(-1)
    good = [
        ctypes.byref(params),
        *map(pointer, (boxes, scores, scratch)),
        ctypes.c_size_t(size),
        pointer(found),
        ctypes.byref(count),
    ]

    def status(position, value):
        arguments = [*good[:position], value, *good[position + 1 :]]
        return nk.c.nk_status_name(nk.c.nk_detection_s8(*arguments)).decode()

    for position in (0, 1, 2, 5, 6):
        assert status(position, None) == "NK_ERROR_ARGUMENT"
    assert status(3, None) == "NK_ERROR_BUFFER"
    assert status(3, ctypes.c_void_p(scratch.ctypes.data + 1)) == "NK_ERROR_BUFFER"
    assert status(4, ctypes.c_size_t(size - 1)) == "NK_ERROR_BUFFER"
    assert count.value == -1
    assert not found.any()
    assert status(4, ctypes.c_size_t(size)) == "NK_OK"


def test_no_parameters_need_no_buffer(nk, call):
    _, params, _, _ = call
    assert nk.c.nk_detection_s8_get_buffer_size(None) == -1
    params.max_boxes = 0
    assert nk.c.nk_detection_s8_get_buffer_size(ctypes.byref(params)) == -1


def test_constants_are_those_of_the_header():
    text = (sources.tflm_ops_dir() / "include" / "nk_detection.h").read_text()
    for name, value in (
        ("COORDINATE_BITS", decoding.COORDINATE_BITS),
        ("SCORE_BITS", decoding.SCORE_BITS),
        ("SIZE_BITS", decoding.SIZE_BITS),
        ("MAX_CLASSES", decoding.MAX_CLASSES),
        ("MAX_BOXES", decoding.MAX_BOXES),
        ("MAX_CANDIDATES", decoding.MAX_CANDIDATES),
    ):
        assert f"#define NK_DETECTION_{name} {value}\n" in text
