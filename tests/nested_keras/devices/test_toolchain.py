import pytest

from nested_keras.devices import toolchain as toolchain_module
from nested_keras.devices.qemu import run
from nested_keras.devices.toolchain import cortex_m7_toolchain, find_tool, host_toolchain
from nested_keras.firmware import BuildError, HostModel, QemuModel, ToolchainError, build_firmware
from tests.nested_keras.codegen.programs import nested_net, random_inputs


@pytest.fixture
def empty_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("tool", "package"),
    [
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
        ("arm-none-eabi-size", "binutils-arm-none-eabi"),
        ("qemu-system-arm", "qemu-system-arm"),
        ("cc", "gcc"),
    ],
)
@pytest.mark.usefixtures("empty_path")
def test_a_missing_tool_is_named_with_its_package(tool, package):
    with pytest.raises(ToolchainError) as caught:
        find_tool(tool)
    assert str(caught.value) == (
        f"{tool} was not found on PATH; on Debian install it with: apt install {package}"
    )


@pytest.mark.usefixtures("empty_path")
def test_models_say_which_tool_they_miss(tmp_path):
    x = random_inputs(nested_net(), 1)
    with pytest.raises(ToolchainError, match=r"cc was not found on PATH.*apt install gcc"):
        HostModel(nested_net())
    with pytest.raises(ToolchainError, match="arm-none-eabi-gcc was not found on PATH"):
        build_firmware(nested_net(), x, tmp_path)
    # The emulator is looked for before anything is built.
    with pytest.raises(ToolchainError, match="apt install qemu-system-arm"):
        QemuModel(nested_net()).run(x)
    with pytest.raises(ToolchainError, match="qemu-system-arm was not found on PATH"):
        run(tmp_path / "firmware.elf")


@pytest.mark.arm
def test_a_compiler_without_c_library_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(toolchain_module, "run_tool", lambda command: "libc.a\n")
    with pytest.raises(ToolchainError, match="apt install libnewlib-arm-none-eabi"):
        cortex_m7_toolchain()


def test_an_object_is_compiled_once_for_each_content_header_and_flag(tmp_path, monkeypatch):
    include = tmp_path / "include"
    include.mkdir()
    (include / "value.h").write_text("#define VALUE 1\n")
    source = tmp_path / "a.c"
    source.write_text('#include "value.h"\nint get(void);\nint get(void) { return VALUE; }\n')
    compiled = []
    run_tool = toolchain_module.run_tool
    monkeypatch.setattr(
        toolchain_module, "run_tool", lambda command: compiled.append(1) or run_tool(command)
    )

    def compile_it(*flags):
        return host_toolchain().compile(
            source, include_dirs=[include], cache_dir=tmp_path / "cache", extra_flags=flags
        )

    first = compile_it()
    assert first.exists()
    assert (compile_it(), len(compiled)) == (first, 1)
    (include / "value.h").write_text("#define VALUE 2\n")
    second = compile_it()
    assert (second != first, len(compiled)) == (True, 2)
    assert (compile_it("-DX") != second, len(compiled)) == (True, 3)
    source.write_text(source.read_text() + "\n")
    assert (compile_it() != second, len(compiled)) == (True, 4)


def test_what_the_compiler_says_is_in_the_error(tmp_path):
    source = tmp_path / "bad.c"
    source.write_text("int f(void) { return nowhere; }\n")
    with pytest.raises(BuildError, match=r"(?s)cc failed with exit status 1:.*nowhere"):
        host_toolchain().compile(source, include_dirs=(), cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
