import pytest

from nested_keras.codegen import sources
from nested_keras.devices.toolchain import host_toolchain, run_tool
from nested_keras.firmware import FirmwareError


def test_sources_include_what_they_call():
    names = {path.name for path in sources.sources_for(["nk_nested_conv_s8", "nk_add_s8"])}
    assert {"nk_nested_conv_s8.c", "nk_nested_conv_s8_ref.c", "nk_add_s8.c"} <= names
    assert "nk_softmax_s8.c" not in names


def test_sources_have_all_that_their_objects_call(object_cache):
    """What an inline function of a header calls too."""
    names = sources.exported_names()
    include = sources.tflm_ops_dir() / "include"
    for source in {path for path in names.values() if path.suffix == ".c"}:
        made = host_toolchain().compile(source, include_dirs=[include], cache_dir=object_cache)
        called = set(
            run_tool(["nm", "--undefined-only", "--format=just-symbols", str(made)]).split()
        )
        needed = sources.sources_for([name for name, path in names.items() if path == source])
        missing = {name for name in called & set(names) if names[name] not in needed}
        assert not missing, source.name


def test_every_function_of_the_public_headers_has_a_source():
    import re

    declared = set()
    for header in sources.headers():
        # Functions that a header only declares; inline ones have a body.
        text = header.read_text()
        declared |= set(
            re.findall(r"^(?:nk_status|int32_t|const char \*)\s*(nk_\w+)\(", text, re.M)
        )
    assert "nk_conv2d_s8" in declared
    assert sources.sources_for(sorted(declared))


def test_an_unknown_function_is_refused():
    with pytest.raises(FirmwareError, match=r"no source file below .* defines nk_convolve"):
        sources.sources_for(["nk_convolve"])


def test_an_unknown_board_is_refused():
    with pytest.raises(ValueError, match=r"board must be one of mps2_an385, .*: got 'arduino'"):
        sources.board_dir("arduino")


def test_missing_sources_are_reported(monkeypatch, tmp_path):
    file = tmp_path / "nested_keras" / "codegen" / "sources.py"
    monkeypatch.setattr(sources, "__file__", str(file))
    with pytest.raises(
        FirmwareError, match=r"expected include/nk_ops\.h in .*tflm_ops or .*tflm_ops"
    ):
        sources.tflm_ops_dir()


def test_every_board_comes_with_the_common_start_up_code():
    for board in ("mps2_an500", "nucleo_f767zi"):
        names = [path.name for path in sources.board_sources(board)]
        assert names == ["startup.c", "board.c"]
