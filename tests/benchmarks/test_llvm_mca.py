"""The comparison with LLVM's model of the Cortex-M7."""

import shutil

import pytest

from benchmarks import llvm_mca


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (("ldr.w\tr0, [r1, #4]!", "bne.n\t8 <loop>"), ("ldr r0, [r1, #4]",)),
        (("ldrb.w\tr0, [r1], #1", "bx\tlr"), ("ldrb r0, [r1]",)),
        (("strh\tr0, [r1, r2]",), ("strh r0, [r1, r2]",)),
        (("it\teq", "moveq\tr1, r2", "adds\tr0, #1"), ("mov r1, r2", "adds r0, #1")),
        (("smlal\tr0, r1, r2, r3", "pop\t{r4, pc}"), ("smlal r0, r1, r2, r3",)),
    ],
)
def test_a_block_is_simplified_to_what_both_models_read(code, expected):
    assert llvm_mca.simplified(code) == expected


@pytest.mark.skipif(not shutil.which("llvm-mca"), reason="llvm-mca is not installed")
def test_llvm_gives_the_cycles_of_a_pass(tmp_path):
    # Two chains of multiply-accumulates: a multiplication a cycle.
    block = ("smlal r0, r1, r2, r3", "smlal r4, r5, r2, r3", "smlal r6, r7, r2, r3")
    assert llvm_mca.llvm_cycles(block, tmp_path) == pytest.approx(3.0, abs=0.1)
    assert llvm_mca.llvm_cycles(("no instruction",), tmp_path) is None
