"""The committed tables hold what the code gives today, by one row of each that is quick.

`tests/nested_keras/bench/test_kernel_table.py` has the rows of the kernels, which it counts anyway.
"""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import arenas, bytes, cores, models, placement, regenerate
from benchmarks.accuracy import report
from benchmarks.detection import costs
from nested_keras.bench.kernel_table import Row

pytestmark = pytest.mark.arm

FOLDER = Path(models.__file__).parent


def test_a_network_costs_what_models_json_says():
    page = (FOLDER / "models.md").read_text()
    if models.counted_with() not in page:
        pytest.skip(
            f"models.md was counted with other versions than these: {models.counted_with()}"
        )
    (network,) = (each for each in models.NETWORKS if each.name == "DS-CNN")
    tflite = models.build(network, models.SPARSITIES).tflite
    counted = models.measure(network, tflite, models.SPARSITIES, label="90/80/70")
    committed = json.loads((FOLDER / "models.json").read_text())
    rows = [row for row in committed if (row["network"], row["model"]) == ("DS-CNN", "90/80/70")]
    assert [dataclasses.asdict(row) for row in counted] == rows


def committed_levels():
    """The costs of each committed model with levels, by its name, the sparsest level first."""
    for network in models.NETWORKS:
        rows = json.loads((FOLDER / "models.json").read_text())
        own = [row for row in rows if (row["network"], row["model"]) == (network.name, "90/80/70")]
        yield network.name, [row["cycles"] for row in own]
    for path in sorted((FOLDER / "mlperf_tiny").glob("*_90_80_70.json")):
        levels = json.loads(path.read_text())["levels"]
        yield path.stem, [level["instructions"] for level in levels]
    for run in json.loads((FOLDER / "accuracy" / "results.json").read_text()):
        if run["method"] == "nested":
            yield run["recipe"]["network"], [point["cycles"] for point in run["points"]]


@pytest.mark.parametrize(("name", "costs"), tuple(committed_levels()))
def test_a_denser_level_costs_more(name, costs):
    """Of random weights and of trained ones."""
    assert len(costs) >= 3
    assert costs == sorted(set(costs))


def committed_cores():
    """The rows of cores.json, of models and of layers."""
    content = json.loads((FOLDER / "cores.json").read_text())
    lists = ("instructions", "cycles")
    rows = [
        cores.Row(**{**row, **{name: tuple(row[name]) for name in lists}})
        for row in content["models"]
    ]
    return rows, [cores.LayerRow(**row) for row in content["layers"]]


@pytest.mark.parametrize("name", ["Cortex-M0+", "Cortex-M33"])
def test_the_demo_costs_on_a_core_what_cores_json_says(name, object_cache):
    if models.counted_with() not in (FOLDER / "cores.md").read_text():
        pytest.skip(f"cores.md was counted with other versions than these: {models.counted_with()}")
    (core,) = (each for each in cores.CORES if each.name == name)
    demo = cores.NETWORKS[0]
    dense = cores.recorded(name).costs["demo"]
    counted = cores.measure(core, demo, cores.build(demo), object_cache, dense)
    rows, _ = committed_cores()
    (row,) = (each for each in rows if (each.core, each.network) == (name, "demo"))
    assert counted == row


def test_cores_md_shows_cores_json():
    rows, layers = committed_cores()
    page = (FOLDER / "cores.md").read_text()
    for table in (cores.table(rows), cores.cycle_table(rows), cores.layer_table(layers)):
        assert table in page
    assert cores.recorded("Cortex-M4").source in page
    assert len(rows) == len(cores.CORES) * len(cores.NETWORKS)
    assert all(row.compiles and row.right for row in rows)


def test_3x3_layers_with_nine_tenths_of_zeros_take_a_third_of_dense_ones_on_each_core():
    _, layers = committed_cores()
    sparse = [row for row in layers if row.layer.startswith("3x3") and row.sparsity == 0.9]
    assert {row.core for row in sparse} == {"Cortex-M4", "Cortex-M7", "Cortex-M33"}
    for row in sparse:
        assert min(row.speedup_instructions, row.speedup_cycles) > 3


def test_a_firmware_that_does_not_compile_is_a_row(object_cache):
    wrong = cores.Core("none", "mps2_an386", ("-mcpu=cortex-m99",))
    network = cores.NETWORKS[0]
    row = cores.measure(wrong, network, [models.build(network, (0.9,)).tflite], object_cache)
    assert (row.compiles, row.right, row.instructions) == (False, False, ())
    assert " no  " in cores.table([row])


def test_the_page_on_limits_shows_models_json():
    page = (FOLDER / "limits.md").read_text()
    rows = json.loads((FOLDER / "models.json").read_text())
    for network in models.NETWORKS:
        found = [
            row["cycles"]
            for row in rows
            if row["network"] == network.name and row["model"] in ("90/80/70", "dense")
        ]
        cells = " | ".join(f"{cycles / 1e6:.2f}" for cycles in found)
        assert f"| {network.name} | goal |" in page
        assert f"| | reached | {cells} |" in page


def test_the_detector_costs_what_costs_json_says():
    committed = json.loads((FOLDER / "detection" / "costs.json").read_text())
    (row,) = (each for each in committed if each["width"] == 0.35)
    assert costs.cycles(costs.nested(0.35)) == row["modelled_cycles"]


def test_the_densest_level_of_a_detector_costs_at_least_1_8_times_the_sparsest():
    for row in json.loads((FOLDER / "detection" / "costs.json").read_text()):
        sparsest, *_, densest = row["modelled_cycles"]
        assert densest >= 1.8 * sparsest


def test_the_page_on_detection_shows_costs_json():
    page = (FOLDER / "detection" / "README.md").read_text()
    for row in json.loads((FOLDER / "detection" / "costs.json").read_text()):
        cycles = " | ".join(f"{count / 1e6:.1f}" for count in row["modelled_cycles"])
        sizes = (*row["weight_bytes"], row["tflite_bytes"], row["arena_bytes"])
        assert f"| width {row['width']}, all kernels nested" in page
        assert f"| {cycles} |" in page
        assert f"| width {row['width']} | {' | '.join(f'{n:,}' for n in sizes)} |" in page


@pytest.mark.parametrize("data", ["bccd", "pcb"])
def test_the_page_on_detection_shows_what_was_trained(data):
    page = (FOLDER / "detection" / "README.md").read_text()
    runs = json.loads((FOLDER / "detection" / f"{data}.json").read_text())
    for seed, run in enumerate(runs):
        for name, text in (
            ("nested, float32", "nested"),
            ("nested, int8", "nested_int8"),
            ("stand-alone, float32", "alone"),
        ):
            cells = " | ".join(f"{value:.1%}".replace("%", " %") for value in run[text])
            assert f"| {name}, seed {seed} | {cells} |" in page
        cycles = " | ".join(f"{count / 1e6:.1f}" for count in run["modelled_cycles"])
        assert f"| modelled cycles, millions | {cycles} |" in page


def committed_arenas():
    rows = json.loads((FOLDER / "arenas.json").read_text())
    lists = ("instructions", "cycles")
    return [arenas.Row(**{**row, **{name: tuple(row[name]) for name in lists}}) for row in rows]


def test_the_smallest_arena_is_what_arenas_json_says():
    if models.counted_with() not in (FOLDER / "arenas.md").read_text():
        pytest.skip(f"arenas.md was counted with other versions: {models.counted_with()}")
    (network,) = (each for each, _ in arenas.NETWORKS if each.name == "DS-CNN")
    counted = arenas.measure(network, models.build(network, models.SPARSITIES).tflite, "smallest")
    (row,) = (r for r in committed_arenas() if (r.network, r.limit) == ("DS-CNN", "smallest"))
    assert counted == row


def test_arenas_md_shows_arenas_json():
    rows = committed_arenas()
    assert arenas.table(rows) in (FOLDER / "arenas.md").read_text()
    assert len(rows) == sum(len(limits) for _, limits in arenas.NETWORKS)


def committed_bytes():
    rows = json.loads((FOLDER / "bytes.json").read_text())
    return [bytes.Row(**{**row, "cycles": tuple(row["cycles"])}) for row in rows]


def test_the_smallest_resnet8_is_what_bytes_json_says(tmp_path):
    if models.counted_with() not in (FOLDER / "bytes.md").read_text():
        pytest.skip(f"bytes.md was counted with other versions: {models.counted_with()}")
    network = bytes.NETWORKS[0]
    ((_, tflite),) = bytes.exports(network, ("size",))
    (row,) = (r for r in committed_bytes() if (r.network, r.optimize) == (network.name, "size"))
    assert bytes.measure(network, "size", tflite, tmp_path) == row


def test_bytes_md_shows_bytes_json():
    rows = committed_bytes()
    assert bytes.table(rows) in (FOLDER / "bytes.md").read_text()
    assert len(rows) == sum(2 + len(network.limits) for network in bytes.NETWORKS)
    for network in bytes.NETWORKS:
        (least,) = (r for r in rows if (r.network, r.optimize) == (network.name, "size"))
        assert network.paper_bytes is None or least.data_bytes <= network.paper_bytes
        assert least.links


def test_placement_md_shows_placement_json_and_agrees_with_models_json():
    rows = json.loads((FOLDER / "placement.json").read_text())
    rows = [
        placement.Row(**{**row, **{name: tuple(row[name]) for name in ("cycles", "memory_cycles")}})
        for row in rows
    ]
    assert placement.table(rows) in (FOLDER / "placement.md").read_text()
    models_rows = json.loads((FOLDER / "models.json").read_text())
    for network in models.NETWORKS:
        own = [row for row in models_rows if row["network"] == network.name]
        levels = [row for row in own if row["model"] == "90/80/70"]
        (row,) = (row for row in rows if (row.network, row.memory) == (network.name, "16k"))
        assert row.cycles == tuple(level["cycles"] for level in levels)
        assert row.memory_cycles == tuple(level["memory_cycles"] for level in levels)


def test_models_md_shows_models_json():
    rows = [models.Row(**row) for row in json.loads((FOLDER / "models.json").read_text())]
    page = (FOLDER / "models.md").read_text()
    assert models.table(rows) in page
    assert models.storage_table(rows) in page


def test_the_pages_show_kernels_json():
    rows = [Row(**row) for row in json.loads((FOLDER / "kernels.json").read_text())]
    page = (FOLDER / "kernels.md").read_text()
    for row in rows:
        ours = (row.instructions, row.cycles, row.memory_cycles)
        numbers = (*ours, row.cmsis_instructions, row.cmsis_cycles)
        cells = "  ".join(f"{number:,}" for number in numbers)
        assert cells in " ".join(page.split()).replace(" ", "  "), row
    assert regenerate.target_table(rows) in (FOLDER / "README.md").read_text()


def test_the_storage_table_is_what_streams_take():
    assert regenerate.storage_table() in (FOLDER / "kernels.md").read_text()


def test_the_page_on_accuracy_shows_its_results(tmp_path):
    folder = FOLDER / "accuracy"
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    report.write(tmp_path)
    assert (tmp_path / "README.md").read_text() == (folder / "README.md").read_text()
