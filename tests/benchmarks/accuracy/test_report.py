import json

import pytest

from benchmarks.accuracy import report


def point(name, cycles, accuracy):
    return {
        "name": name,
        "accuracy_float": accuracy + 0.001,
        "accuracy_int8": accuracy,
        "instructions": 2 * cycles,
        "cycles": cycles,
        "weight_bytes": cycles // 10,
    }


def result(method, points, seed=0, file_bytes=1000):
    recipe = {
        "network": "resnet8",
        "width": 1.0,
        "seed": seed,
        "epochs": 3,
        "pretrained": "",
        "dense_epochs": 5,
        "batch_size": 64,
        "distillation": "teacher",
        "policy": "float32",
        "sparsities": [0.9, 0.8, 0.7],
    }
    return {
        "method": method,
        "recipe": recipe,
        "train_images": 50000,
        "test_images": 10000,
        "training_seconds": 100,
        "file_bytes": file_bytes,
        "points": points,
    }


def test_other_levels_make_a_section_of_their_own():
    usual = result("nested", [])
    assert report.network_of(usual) == "resnet8_1"
    usual["recipe"]["sparsities"] = [0.95, 0.9, 0.8]
    assert report.network_of(usual) == "resnet8_1_95_90_80"


@pytest.fixture
def runs(tmp_path):
    nested = [point("90% zeros", 100, 0.80), point("80% zeros", 200, 0.84)]
    better = [point("90% zeros", 100, 0.82), point("80% zeros", 200, 0.86)]
    alone = [point("90% zeros", 110, 0.805), point("80% zeros", 190, 0.85)]
    for name, content in {
        "s0/nested": result("nested", nested, file_bytes=500),
        "s1/nested": result("nested", better, seed=1, file_bytes=500),
        "s0/standalone": result("standalone", alone),
        "s0/allocated": result(
            "allocated", [point("as 90% zeros", 98, 0.825), point("as 80% zeros", 199, 0.845)]
        ),
        "s0/dense": result("dense", [point("dense", 150, 0.87)]),
    }.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(content))
    (tmp_path / "runs" / "s0" / "tfmot-0.9").mkdir()  # a training without a result yet
    return tmp_path / "runs"


def test_gather_orders_results_by_network_seed_and_method(runs):
    found = [(r["recipe"]["seed"], r["method"]) for r in report.gather(runs)]
    first = [(0, method) for method in ("nested", "allocated", "standalone", "dense")]
    assert found == [*first, (1, "nested")]


def test_average_is_over_the_seeds(runs):
    first, second = report.average(report.gather(runs))["nested"]
    assert first["accuracy_int8"] == pytest.approx(0.81)
    assert (first["spread"], first["seeds"]) == (pytest.approx(0.02), 2)
    assert second["cycles"] == 200


@pytest.mark.parametrize(
    ("cycles", "accuracy", "gap"),
    [
        (150, 0.83, 0.01),  # on the line between the two points
        (150, 0.80, -0.02),
        (400, 0.85, 0.01),  # right of the last point the curve goes on level
        (50, 0.99, None),  # left of the first point there is nothing
    ],
)
def test_above_curve_compares_at_equal_cycles(cycles, accuracy, gap):
    curve = [point("b", 200, 0.84), point("a", 100, 0.80)]
    found = report.above_curve([point("rival", cycles, accuracy)], curve)
    assert found == (None if gap is None else pytest.approx(gap))


def test_write_makes_the_page_and_repeats_it_from_the_results_alone(runs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    report.write(out, runs=runs)
    page = (out / "README.md").read_text()
    assert "| nested | 90% zeros | 81.10% | 81.00% | 2.00% | 100 | 200 | 10 |" in page
    assert "| standalone | 90% zeros | 80.60% | 80.50% | one seed | 110 | 220 | 11 |" in page
    assert "int8: 90% zeros -0.50 pt, 80% zeros -1.00 pt; -0.75 pt on average." in page
    assert "float: 90% zeros -0.50 pt, 80% zeros -1.00 pt; -0.75 pt on average." in page
    assert "Int8 against float, nested: 90% zeros -0.10 pt, 80% zeros -0.10 pt." in page
    assert "Storage: 0.50 of the stand-alone files." in page
    assert (
        "Allocated against uniform sparsity, int8: 90% zeros +2.50 pt at 98 cycles against 100, "
        "80% zeros +0.50 pt at 199 cycles against 200." in page
    )
    # stand-alone at 190 cycles: 85 % against 83.6 % on the line of seed 0, the one both have
    assert "The best point of standalone lies 1.40 pt above the nested curve" in page
    assert "The best point of standalone lies 0.68 pt above the allocated curve" in page
    plots = sorted(path.name for path in out.glob("*.svg"))
    assert plots == ["resnet8_1_cycles.svg", "resnet8_1_weight_bytes.svg"]
    assert all(plot in page for plot in plots)

    written = {path.name: path.read_bytes() for path in out.iterdir()}
    report.write(out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == written


@pytest.mark.parametrize(
    ("pretrained", "start"),
    [("", "images, 5 epochs dense, then"), ("net.h5", "images, dense model from net.h5, then")],
)
def test_the_page_says_where_the_dense_model_comes_from(pretrained, start, tmp_path):
    content = result("dense", [point("dense", 150, 0.87)])
    content["recipe"]["pretrained"] = pretrained
    (tmp_path / "s0" / "dense").mkdir(parents=True)
    (tmp_path / "s0" / "dense" / "result.json").write_text(json.dumps(content))
    report.write(tmp_path, runs=tmp_path)
    assert start in (tmp_path / "README.md").read_text()


def test_write_wants_a_result(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"result\.json below .*: none"):
        report.write(tmp_path, runs=tmp_path)
