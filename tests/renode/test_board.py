"""The start-up of the board nucleo_f767zi, register by register, as RM0410 and PM0253 want it."""

from __future__ import annotations

import pytest

from nested_keras.codegen import sources
from nested_keras.devices import line_protocol
from nested_keras.firmware import RenodeModel
from tests.nested_keras.codegen.programs import nested_net, random_inputs
from tests.renode.machine import Machine

pytestmark = pytest.mark.arm

BOARD = sources.board_dir("nucleo_f767zi")
RCC_CR, RCC_PLLCFGR, RCC_CFGR = 0x40023800, 0x40023804, 0x40023808
RCC_AHB1ENR, RCC_APB1ENR = 0x40023830, 0x40023840
PWR_CR1, PWR_CSR1, FLASH_ACR = 0x40007000, 0x40007004, 0x40023C00
GPIOD_MODER, GPIOD_AFRH = 0x40020C00, 0x40020C24
USART3_CR1, USART3_BRR = 0x40004800, 0x4000480C
CPACR, VTOR, CCR, DCISW, ICIALLU = 0xE000ED88, 0xE000ED08, 0xE000ED14, 0xE000EF60, 0xE000EF50
DEMCR, DWT_CTRL, DWT_LAR = 0xE000EDFC, 0xE0001000, 0xE0001FB0


class Silicon(Machine):
    """The chip: flags are up when what they stand for was switched on, and not before."""

    def __init__(self):
        super().__init__(BOARD / "nucleo_f767zi.repl")
        self.registers.update({RCC_CR: 0x83, RCC_CFGR: 0, PWR_CSR1: 0})
        self.stores = []

    def read(self, address):
        value = super().read(address)
        if address == RCC_CR:
            oscillator, pll = value >> 16 & 1, value >> 24 & 1
            return value | oscillator << 17 | (oscillator & pll) << 25
        if address == RCC_CFGR:
            return value | (value & 3) << 2
        if address == PWR_CSR1:
            over_drive, switched = (self.registers[PWR_CR1] >> bit & 1 for bit in (16, 17))
            return over_drive << 16 | (over_drive & switched) << 17
        return value

    def write(self, address, value):
        self.stores.append((address, value))
        super().write(address, value)

    def first(self, address, mask=0xFFFFFFFF):
        """Index of the first store to a register that sets one of the bits."""
        return next(i for i, (a, v) in enumerate(self.stores) if a == address and v & mask)


@pytest.fixture(scope="module")
def silicon(tmp_path_factory):
    prog = nested_net()
    firmware = RenodeModel(prog).build(random_inputs(prog, 1), tmp_path_factory.mktemp("board"))
    machine = Silicon()
    machine.load(firmware.elf, 0x08000000)
    machine.run_for(0.02)
    return machine


def test_it_runs_to_its_end(silicon):
    assert line_protocol.parse(silicon.console.decode()).levels == (0, 1, 2)


def test_fpu_and_vector_table_come_first(silicon):
    assert silicon.stores[:2] == [(CPACR, 0xF << 20), (VTOR, 0x08000000)]


def test_the_clock_is_216_mhz(silicon):
    assert silicon.registers[RCC_CR] >> 16 & 0b101 == 0b101  # HSE on, in bypass
    pll = silicon.registers[RCC_PLLCFGR]
    assert pll >> 22 & 1 == 1  # from HSE
    m, n, p = pll & 0x3F, pll >> 6 & 0x1FF, 2 * (pll >> 16 & 3) + 2
    assert 1e6 <= 8e6 / m <= 2e6
    assert 100e6 <= 8e6 / m * n <= 432e6
    assert 8e6 / m * n / p == 216e6
    assert 8e6 / m * n / (pll >> 24 & 0xF) == 48e6
    dividers = {0b100: 2, 0b101: 4}
    assert silicon.registers[RCC_CFGR] & 3 == 2  # the PLL
    assert silicon.registers[RCC_CFGR] >> 4 & 0xF == 0  # AHB undivided
    apb1, apb2 = (dividers[silicon.registers[RCC_CFGR] >> bit & 7] for bit in (10, 13))
    assert (216 / apb1, 216 / apb2) == (54, 108)
    baud = 216e6 / apb1 / silicon.registers[USART3_BRR]
    assert baud == pytest.approx(115200, rel=0.005)


def test_voltage_and_wait_states_are_set_before_the_clock_goes_up(silicon):
    bypass, on = silicon.first(RCC_CR, 1 << 18), silicon.first(RCC_CR, 1 << 16)
    assert bypass < on < silicon.first(RCC_PLLCFGR) < silicon.first(RCC_CR, 1 << 24)
    assert silicon.registers[PWR_CR1] >> 14 & 3 == 3  # voltage scale 1
    over_drive, switch = silicon.first(PWR_CR1, 1 << 16), silicon.first(PWR_CR1, 1 << 17)
    latency, select = silicon.first(FLASH_ACR), silicon.first(RCC_CFGR, 3)
    assert silicon.first(RCC_APB1ENR, 1 << 28) < over_drive < switch < latency < select
    assert silicon.registers[FLASH_ACR] & 0xF == 7
    assert silicon.first(RCC_CFGR, 7 << 10) < select
    assert silicon.first(RCC_CFGR, 7 << 13) < select


def test_caches_are_invalidated_and_then_enabled(silicon):
    lines = {value for address, value in silicon.stores if address == DCISW}
    assert lines == {way << 30 | line << 5 for way in range(4) for line in range(128)}
    stores = [address for address, _ in silicon.stores]
    assert stores.index(ICIALLU) < silicon.first(CCR, 1 << 17)
    last = len(stores) - stores[::-1].index(DCISW)
    assert last <= silicon.first(CCR, 1 << 16)
    assert silicon.registers[CCR] >> 16 & 3 == 3


def test_the_cycle_counter_is_unlocked_and_running(silicon):
    assert silicon.first(DEMCR, 1 << 24) < silicon.first(DWT_LAR) < silicon.first(DWT_CTRL, 1)
    assert silicon.registers[DWT_LAR] == 0xC5ACCE55


def test_the_console_is_usart3_on_pd8_and_pd9(silicon):
    assert silicon.first(RCC_AHB1ENR, 1 << 3) < silicon.first(GPIOD_AFRH)
    assert silicon.first(RCC_APB1ENR, 1 << 18) < silicon.first(USART3_BRR)
    assert silicon.registers[GPIOD_AFRH] & 0xFF == 0x77
    assert silicon.registers[GPIOD_MODER] >> 16 & 0xF == 0b1010
    assert silicon.first(USART3_BRR) < silicon.first(USART3_CR1)
    assert silicon.registers[USART3_CR1] == 0b1001  # UE, TE; 8N1
