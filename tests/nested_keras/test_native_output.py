"""Notes of C++ code stay away; everything else comes through."""

import os

import pytest

from nested_keras import native_output

NOTES = [
    "fully_quantize: 0, inference_type: 6, input_inference_type: INT8, output_inference_type: INT8",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795833698.446940   14942 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795832928.375897   27095 tf_tfl_flatbuffer_helpers.cc:367] Ignored drop_control.",
    "2026-11-28 02:00:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary",
    "E0000 00:00:1795833716.969837   14942 cuda_platform.cc:52] failed call to cuInit: INTERNAL",
]
REST = ["Segmentation fault", "E0000 00:00:1795833716.969837 1 graph.cc:1] no such node"]


def write():
    os.write(2, "".join(f"{line}\n" for line in [NOTES[0], *REST, *NOTES[1:]]).encode())


def test_notes_are_left_out(capfd):
    with native_output.without_notes():
        write()
    write()
    lines = capfd.readouterr().err.splitlines()
    assert lines[: len(REST)] == REST
    # Behind the block nothing is left out.
    assert lines[-len(NOTES) - len(REST) :] == [NOTES[0], *REST, *NOTES[1:]]


def test_an_error_leaves_nothing_out(capfd):
    def fail():
        write()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), native_output.without_notes():
        fail()
    assert capfd.readouterr().err.splitlines() == [NOTES[0], *REST, *NOTES[1:]]


def test_a_process_without_standard_error(monkeypatch):
    def dup(_):
        raise OSError("bad file descriptor")

    monkeypatch.setattr(os, "dup", dup)
    with native_output.without_notes():
        pass
