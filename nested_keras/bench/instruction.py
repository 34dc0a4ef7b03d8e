"""Read the facts of a Thumb-2 instruction that the issue model needs from the disassembly.

Each operand has the pipeline stage that reads the operand. Each result has the cycle at which each
stage can use the result. Both come from the published measurements that benchmarks/cycle_model.md
lists. Registers have the names r0..r15, and the condition flags count as one more register.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from dataclasses import dataclass
from typing import NamedTuple


class Unit(enum.Enum):
    """The kinds of instructions in the pairing rules."""

    PLAIN = enum.auto()
    """ALU without shifted operand, IT, and every instruction that is not listed below."""
    SHIFTED = enum.auto()
    """ALU whose second operand is shifted on the way."""
    DSP = enum.auto()
    """SIMD, saturating, extending and bit-field instructions."""
    MULTIPLY = enum.auto()
    LOAD = enum.auto()
    STORE = enum.auto()
    MULTIPLE = enum.auto()
    """Loads and stores of two or more registers."""
    BRANCH = enum.auto()


class Port(enum.Enum):
    """The stage of the pipeline that reads an operand."""

    EARLY = enum.auto()
    """Address generation, and the shifter ahead of the ALU."""
    LATE = enum.auto()
    """The ALU."""
    MULTIPLIER = enum.auto()
    ACCUMULATOR = enum.auto()
    """The addend of a multiply-accumulate, needed after the product."""
    STORE_DATA = enum.auto()


class Latency(NamedTuple):
    """Cycles from issue until a result can be read at each port."""

    late: int
    early: int
    multiplier: int

    def at(self, port: Port) -> int:
        """Cycles from the producer's issue to the earliest issue of a reader at `port`."""
        if port is Port.EARLY:
            return self.early
        if port is Port.MULTIPLIER:
            return self.multiplier
        if port is Port.ACCUMULATOR:
            return 1
        # Stores read their data a cycle after the ALU would.
        return self.late - 1 if port is Port.STORE_DATA else self.late


_EARLY_ALU = Latency(late=1, early=1, multiplier=1)
_LATE_ALU = Latency(late=1, early=2, multiplier=1)
_WORD_LOAD = Latency(late=1, early=2, multiplier=2)
_NARROW_LOAD = Latency(late=2, early=3, multiplier=3)
_PRODUCT = Latency(late=2, early=3, multiplier=2)

FLAGS = "flags"
_SP, _LR, _PC = "r13", "r14", "r15"


@dataclass(frozen=True)
class Instruction:
    """One instruction for the issue model.

    Attributes:
        unit: The kind of the instruction.
        reads: (register, port) of every operand.
        writes: (register, latency) of every result.
        cycles: Issue cycles; more than 1 for multiple loads and stores.
        base: Registers that form the address; empty unless a load or store.
        offset: Constant part of the address in bytes.
        moves_base: Whether the base register is written back.
        words: Registers that a load or store moves.
    """

    unit: Unit
    reads: tuple[tuple[str, Port], ...] = ()
    writes: tuple[tuple[str, Latency], ...] = ()
    cycles: int = 1
    base: tuple[str, ...] = ()
    offset: int = 0
    moves_base: bool = False
    words: int = 0

    @property
    def is_branch(self) -> bool:
        """Whether the instruction may jump."""
        return self.unit is Unit.BRANCH or any(name == _PC for name, _ in self.writes)

    @property
    def is_return(self) -> bool:
        """Whether the instruction jumps to the address in lr or on the stack."""
        return self.is_branch and any(name in (_SP, _LR) for name, _ in self.reads)


_CONDITION = "eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
_ALIASES = {
    "sb": "r9",
    "sl": "r10",
    "fp": "r11",
    "ip": "r12",
    "sp": "r13",
    "lr": "r14",
    "pc": "r15",
}
_REGISTER = re.compile(rf"\b(?:r\d+|{'|'.join(_ALIASES)})\b")
# Commas between operands, without commas inside [..] or {..}.
_OPERAND_COMMA = re.compile(r",(?![^\[{]*[\]}])")
_INLINE_SHIFT = re.compile(r"^(?:lsl|lsr|asr|ror|rrx)\b")
_OFFSET = re.compile(r"#(-?\d+)\]")

_COMPARES = frozenset(("cmp", "cmn", "tst", "teq"))
_SHIFTS = frozenset(("lsl", "lsr", "asr", "ror", "rrx"))
# The results of these instructions leave an ALU that works a cycle before the late ALU.
_EARLY_RESULTS = frozenset(("add", "addw", "sub", "subw", "mov"))
_ARITHMETIC = _SHIFTS | {"add", "adc", "sub", "sbc", "rsb", "and", "orr", "orn", "eor", "bic"}
_MOVES = frozenset(("mov", "mvn", "neg", "movw", "movt", "addw", "subw", "adr"))
_SINGLE_MEMORY = frozenset(
    f"{verb}{width}" for verb in ("ldr", "str") for width in ("", "b", "h", "sb", "sh")
)
_PAIRS = frozenset(("ldrd", "strd"))
_MULTIPLIES = re.compile(r"(?:mul|mla|mls|smul|smla|smmul|smmla|smuad|smusd|smlsd|umull|umlal)")
_LONG_MULTIPLIES = re.compile(r"(?:smull|smlal|umull|umlal)")
_DSP = re.compile(
    r"(?:[su]xt|pkh|bfi|bfc|[su]bfx|rev|rbit|clz|ssat|usat|sel|qadd|qsub|[suq](?:add|sub)(?:8|16))"
)
_BRANCH = re.compile(rf"(?:cbz|cbnz|tbb|tbh|(?:b|bl|bx|blx)(?P<condition>{_CONDITION})?)$")
_MULTIPLE = re.compile(r"v?(?:push|pop|ldm|stm)")
# Mnemonics that may end in s, and mnemonics that may end in a condition.
_FLAG_SETTERS = _ARITHMETIC | _MOVES | {"mul", "mla"}
_SIMPLE = _FLAG_SETTERS | _COMPARES | _SINGLE_MEMORY | _PAIRS


def registers_in(text: str) -> tuple[str, ...]:
    """The core registers named in operand text, in order, as r0..r15."""
    return tuple(_ALIASES.get(name, name) for name in _REGISTER.findall(text))


@functools.cache
def parse(text: str) -> Instruction:
    """Reads one instruction.

    Args:
        text: Mnemonic and operands from objdump, without address and comment. An unknown
            instruction, such as floating point, counts as a plain ALU instruction.

    Returns:
        The instruction.
    """
    mnemonic, _, rest = text.replace("\t", " ").partition("<")[0].strip().partition(" ")
    mnemonic = re.sub(r"\.[wn]$", "", mnemonic)
    operands = [part.strip() for part in _OPERAND_COMMA.split(rest)] if rest.strip() else []
    if branch := _BRANCH.match(mnemonic):
        return _branch(operands, is_predicated=branch["condition"] is not None)
    name, is_predicated, sets_flags = split_mnemonic(mnemonic)
    instruction = _unpredicated(name, rest, operands)
    reads, writes = list(instruction.reads), list(instruction.writes)
    if is_predicated:
        reads.append((FLAGS, Port.LATE))
        if instruction.unit not in (Unit.LOAD, Unit.STORE):
            # The old value is an operand, because an instruction that does not execute keeps it.
            reads += [(register, Port.LATE) for register, _ in writes]
    if sets_flags or name in _COMPARES:
        writes.append((FLAGS, _LATE_ALU))
    return dataclasses.replace(instruction, reads=tuple(reads), writes=tuple(writes))


def split_mnemonic(mnemonic: str) -> tuple[str, bool, bool]:
    """(name without suffixes, whether it is predicated, whether it sets the flags)."""
    if mnemonic in _SIMPLE:
        return mnemonic, False, False
    if mnemonic.endswith("s") and mnemonic[:-1] in _FLAG_SETTERS:
        return mnemonic[:-1], False, True
    predicated = re.fullmatch(rf"(.+?)(?:{_CONDITION})", mnemonic)
    if predicated and predicated.group(1) in _SIMPLE:
        return predicated.group(1), True, False
    return mnemonic, False, False


def _unpredicated(name: str, rest: str, operands: list[str]) -> Instruction:
    if not operands:
        return Instruction(Unit.PLAIN)
    if _MULTIPLE.match(name):
        return _multiple(name, rest, operands)
    if name in _PAIRS:
        return _pair(name, rest, operands)
    if name.removeprefix("v") in _SINGLE_MEMORY:
        return _single(name, rest, operands)
    if name in _COMPARES:
        return Instruction(Unit.PLAIN, _late(registers_in(rest)))
    if _MULTIPLIES.match(name):
        return _multiply(name, operands)
    if _DSP.match(name):
        return _dsp(name, operands)
    return _alu(name, operands)


def _late(registers: tuple[str, ...]) -> tuple[tuple[str, Port], ...]:
    return _at(Port.LATE, registers)


def _at(port: Port, registers: tuple[str, ...]) -> tuple[tuple[str, Port], ...]:
    return tuple((register, port) for register in registers)


def _results(latency: Latency, registers: tuple[str, ...]) -> tuple[tuple[str, Latency], ...]:
    return tuple((register, latency) for register in registers)


def _branch(operands: list[str], *, is_predicated: bool) -> Instruction:
    reads = _late(registers_in(operands[0])) if operands else ()
    if is_predicated:
        reads += ((FLAGS, Port.LATE),)
    return Instruction(Unit.BRANCH, reads)


def _list_members(text: str) -> tuple[tuple[str, ...], int]:
    """Core registers of a list in braces, and how many words the list holds."""
    core: list[str] = []
    words = 0
    for part in text[text.index("{") + 1 : text.index("}")].split(","):
        ends = [_ALIASES.get(end, end) for end in part.strip().split("-")]
        first, last = int(ends[0][1:]), int(ends[-1][1:])
        words += (last - first + 1) * (2 if ends[0][0] == "d" else 1)
        if ends[0][0] == "r":
            core += [f"r{number}" for number in range(first, last + 1)]
    return tuple(core), words


def _multiple(name: str, rest: str, operands: list[str]) -> Instruction:
    """Pushes, pops, loads and stores of a register list, floating point included."""
    members, words = _list_members(rest)
    uses_stack = "push" in name or "pop" in name
    base = ("r13",) if uses_stack else registers_in(operands[0])
    loads = "ldm" in name or "pop" in name
    reads = _at(Port.EARLY, base) + (() if loads else _late(members))
    written = members if loads else ()
    if uses_stack or "!" in rest:
        written += base  # not measured; assumed to be ready no sooner than the result of a load
    cycles = max(1, (words + 1) // 2)
    writes = _results(_WORD_LOAD, written)
    return Instruction(Unit.MULTIPLE, reads, writes, cycles=cycles, words=words)


def _pair(name: str, rest: str, operands: list[str]) -> Instruction:
    """Loads and stores of two registers."""
    data, base = registers_in(",".join(operands[:2])), registers_in(operands[2])
    loads = name == "ldrd"
    reads = _at(Port.EARLY, base) + (() if loads else _late(data))
    written = data if loads else ()
    if "!" in rest or len(operands) > 3:
        written += base[:1]
    return Instruction(Unit.MULTIPLE, reads, _results(_WORD_LOAD, written), words=2)


def _single(name: str, rest: str, operands: list[str]) -> Instruction:
    """Loads and stores of one register."""
    data = registers_in(operands[0])
    base = registers_in(operands[1]) if len(operands) > 1 else ()
    offset = _OFFSET.search(rest)
    moves_base = "!" in rest or len(operands) > 2
    reads = _at(Port.EARLY, base)
    writes = _results(_EARLY_ALU, base[:1]) if moves_base else ()
    if "str" in name:
        unit, reads = Unit.STORE, reads + _at(Port.STORE_DATA, data)
    else:
        latency = _NARROW_LOAD if name[-1] in "bh" else _WORD_LOAD
        unit, writes = Unit.LOAD, _results(latency, data) + writes
    return Instruction(
        unit,
        reads,
        writes,
        base=base,
        offset=int(offset.group(1)) if offset else 0,
        moves_base=moves_base,
        words=1,
    )


def _multiply(name: str, operands: list[str]) -> Instruction:
    """Multiplications and multiply-accumulates, 32 and 64 bits."""
    if _LONG_MULTIPLIES.match(name):
        written = registers_in(",".join(operands[:2]))
        factors = registers_in(",".join(operands[2:]))
        addend = written if "al" in name else ()
    else:
        written = registers_in(operands[0])
        factors = registers_in(",".join(operands[1:3] if len(operands) > 2 else operands))
        addend = registers_in(",".join(operands[3:]))
    reads = _at(Port.MULTIPLIER, factors) + _at(Port.ACCUMULATOR, addend)
    return Instruction(Unit.MULTIPLY, reads, _results(_PRODUCT, written))


def _dsp(name: str, operands: list[str]) -> Instruction:
    """Extensions, packing, bit fields, saturation, SIMD additions."""
    written = registers_in(operands[0])
    sources = registers_in(",".join(operands[1:]))
    if re.match(r"[su]xta|pkh", name):
        reads = _late(sources[:1]) + _at(Port.EARLY, sources[1:2])
    elif re.match(r"[su]bfx|rev|rbit", name):
        reads = _at(Port.EARLY, sources)
    elif name == "bfi":
        reads = _late(written) + _at(Port.EARLY, sources)
    else:
        # bfc names no source, because it changes its destination.
        reads = _late(sources or written)
    return Instruction(Unit.DSP, reads, _results(_LATE_ALU, written))


def _alu(name: str, operands: list[str]) -> Instruction:
    written = registers_in(operands[0])
    sources = registers_in(",".join(operands[1:]))
    if len(operands) == 2 and name in _ARITHMETIC:
        sources += written
    if name not in _SHIFTS and any(_INLINE_SHIFT.match(part) for part in operands[2:]):
        reads = _late(sources[:-1]) + _at(Port.EARLY, sources[-1:])
        return Instruction(Unit.SHIFTED, reads, _results(_LATE_ALU, written))
    latency = _EARLY_ALU if name in _EARLY_RESULTS else _LATE_ALU
    return Instruction(Unit.PLAIN, _late(sources), _results(latency, written))
