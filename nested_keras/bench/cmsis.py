"""The baseline: dense layers on CMSIS-NN, measured from a checkout or taken from a record.

The recorded counts (cmsis_nn.json) are exact and repeatable for the recorded commit, compiler and
flags. No part of CMSIS-NN comes with this package: CMSIS_NN_ROOT names a checkout.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nested_keras import files
from nested_keras.bench.bench_firmware import Library, measure
from nested_keras.bench.bench_source import AnyCase
from nested_keras.bench.core import M7, Core
from nested_keras.bench.layer_cases import Case
from nested_keras.devices.toolchain import Toolchain, cortex_m7_toolchain, run_tool

ROOT_VARIABLE = "CMSIS_NN_ROOT"
RECORD = Path(__file__).with_name("cmsis_nn.json")

_FOLDERS = (
    "BasicMathFunctions",
    "ConvolutionFunctions",
    "FullyConnectedFunctions",
    "NNSupportFunctions",
    "PoolingFunctions",
    "SoftmaxFunctions",
    "TransposeFunctions",
)
# Sources of other number formats are left out to save time.
_OTHER_FORMATS = ("_f16", "_f32", "_flt", "_s4", "_s64")
_PROJECT_ONLY_FLAGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-std=c11")


@dataclass(frozen=True)
class Cost:
    """The instructions and cycles that CMSIS-NN needs for one layer.

    Attributes:
        instructions: Exact.
        cycles: Modelled.
    """

    instructions: int
    cycles: int


@dataclass(frozen=True)
class Baseline:
    """Costs of dense layers and of operators.

    Attributes:
        source: The measured version and the date, for the reader.
        costs: By the name of the layer or operator.
    """

    source: str
    costs: Mapping[str, Cost]


def recorded(core: str = M7.name, path: Path | None = None) -> Baseline:
    """The committed counts of a core.

    Args:
        core: The name of the core.
        path: A file that `record` wrote; that of the kernel table by default.
    """
    content = json.loads((path or RECORD).read_text(encoding="utf-8"))
    costs = {name: Cost(*counts) for name, counts in content["cores"][core].items()}
    source = (
        f"CMSIS-NN {content['version']} of {content['commit_date']}, "
        f"recorded {content['date']} with {content['compiler']}"
    )
    return Baseline(source, costs)


def record(root: Path, costs: Mapping[str, Mapping[str, Cost]], path: Path = RECORD) -> None:
    """Writes measured costs to the record, which is used where there is no checkout.

    Args:
        root: The checkout, a git work tree, because the record names the commit.
        costs: By the name of the core, then of the layer.
        path: The file to write.

    Raises:
        BuildError: git does not know the checkout.
    """

    def git(*arguments: str) -> str:
        return run_tool(["git", "-C", os.fspath(root), *arguments]).strip()

    content = {
        "version": git("describe", "--tags", "--always"),
        "commit": git("rev-parse", "HEAD"),
        "commit_date": git("show", "-s", "--format=%cs", "HEAD"),
        "date": datetime.date.today().isoformat(),
        "compiler": f"{compiler_version()}, -O2",
        "columns": ["instructions", "modelled cycles"],
        "cores": {
            core: {name: [cost.instructions, cost.cycles] for name, cost in layers.items()}
            for core, layers in costs.items()
        },
    }
    files.write_text(path, json.dumps(content, indent=2) + "\n")


def measured(root: Path, cases: Sequence[AnyCase], work_dir: Path, core: Core = M7) -> Baseline:
    """Builds the layers against a checkout of CMSIS-NN and counts them.

    Args:
        root: The checkout: holds Include/ and Source/.
        cases: One dense case for each layer, and operators.
        work_dir: Receives objects and firmware.
        core: The core.

    Returns:
        The counts.

    Raises:
        ValueError: The folder is no CMSIS-NN checkout.
        ToolchainError: A compiler or QEMU is missing.
        BuildError: The compiler refused a source.
        DeviceError: An output differs from the reference.
    """
    measurements = measure(library(root, work_dir, core), cases, work_dir)
    costs = {
        baseline_name(case): Cost(result.profile.instructions, result.profile.cycles)
        for case, result in zip(cases, measurements, strict=True)
    }
    return Baseline(f"CMSIS-NN in {root}, measured now", costs)


def baseline_name(case: AnyCase) -> str:
    """The name of the baseline of a case; all variants of a layer share one baseline."""
    return case.layer.name if isinstance(case, Case) else case.label


def root_from_environment() -> Path | None:
    """The checkout that CMSIS_NN_ROOT names, or None if CMSIS_NN_ROOT is not set."""
    value = os.environ.get(ROOT_VARIABLE)
    return Path(value) if value else None


def compiler_version() -> str:
    """The name and version of the cross compiler, on which all counts depend.

    Raises:
        ToolchainError: The compiler is missing.
    """
    return run_tool([cortex_m7_toolchain().compiler, "--version"]).splitlines()[0]


def bakenn_root() -> Path | None:
    """The CMSIS-NN 4.0.0 of 2022 in the Python package bakenn; None if bakenn is not installed."""
    spec = importlib.util.find_spec("bakenn")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "backend", "cmsis_nn", "vendor", "cmsis_nn")


def library(root: Path, work_dir: Path, core: Core = M7) -> Library:
    """Compiles a checkout of CMSIS-NN for a core.

    Raises:
        ValueError: The folder is no CMSIS-NN checkout.
        BuildError: The compiler refused a source.
    """
    include = root / "Include"
    if not (include / "arm_nnfunctions.h").is_file():
        raise ValueError(
            f"{ROOT_VARIABLE} must name a CMSIS-NN checkout: "
            f"expected {include / 'arm_nnfunctions.h'}"
        )
    # Old versions need the CMSIS core headers, which bakenn keeps beside its copy.
    headers = root.parent / "cmsis_core" / "Include"
    include_dirs = (include, headers) if headers.is_dir() else (include,)
    own = core.toolchain()
    flags = tuple(flag for flag in own.flags if flag not in _PROJECT_ONLY_FLAGS)
    toolchain = Toolchain(own.compiler, ("-std=gnu11", *flags), own.link_flags)
    found = [path for name in _FOLDERS for path in sorted((root / "Source" / name).glob("*.c"))]
    needed = [path for path in found if not path.stem.endswith(_OTHER_FORMATS)]

    def compile_one(source: Path) -> Path:
        return toolchain.compile(source, include_dirs=include_dirs, cache_dir=work_dir)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = tuple(pool.map(compile_one, needed))
    return Library(
        "cmsis_nn",
        objects,
        run_source="cmsis_bench_run.c",
        operator_source="cmsis_bench_run_operator.c",
        include_dirs=include_dirs,
        channels_last_depthwise=True,
        core=core,
    )
