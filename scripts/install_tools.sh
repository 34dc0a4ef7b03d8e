#!/usr/bin/env bash
# Installs the command-line tools named as arguments where they are missing, through apt.
#
# Usage: scripts/install_tools.sh TOOL...
# On a system without apt it lists what is missing and stops.
set -euo pipefail

# Debian package(s) that provide a tool.
packages_of() {
  case "$1" in
    arm-none-eabi-gcc) echo "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib" ;;
    qemu-riscv32) echo "qemu-user" ;;
    qemu-system-arm) echo "qemu-system-arm" ;;
    riscv64-unknown-elf-gcc) echo "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf" ;;
    python3-venv) echo "python3-venv" ;;
    ninja) echo "ninja-build" ;;
    clang) echo "clang libclang-rt-dev" ;;
    llvm-cov) echo "llvm" ;;
    bazel) echo "bazel-bootstrap" ;;
    *) echo "$1" ;;
  esac
}

is_present() {
  case "$1" in
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    # The compiler alone is not enough: Debian ships newlib in a package of its own.
    arm-none-eabi-gcc) command -v "$1" >/dev/null &&
      [ "$(arm-none-eabi-gcc -print-file-name=libc_nano.a)" != libc_nano.a ] ;;
    riscv64-unknown-elf-gcc) command -v "$1" >/dev/null &&
      riscv64-unknown-elf-gcc --specs=picolibc.specs -E -x c /dev/null >/dev/null 2>&1 ;;
    # The compiler alone is not enough: Debian ships the sanitizers' runtime in a package of its own.
    clang) command -v "$1" >/dev/null &&
      echo "int LLVMFuzzerTestOneInput(void) { return 0; }" |
        clang -x c -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
for tool in "$@"; do
  is_present "$tool" || missing+=("$tool")
done
[ ${#missing[@]} -eq 0 ] && exit 0

packages=()
for tool in "${missing[@]}"; do
  read -ra names <<<"$(packages_of "$tool")"
  packages+=("${names[@]}")
done

if ! command -v apt-get >/dev/null; then
  echo "Missing tools: ${missing[*]}." >&2
  echo "This system has no apt. Install what Debian calls: ${packages[*]}, then run make again." >&2
  exit 1
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Missing tools: ${missing[*]}. As root, run: apt-get install ${packages[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
fi
echo "Installing ${packages[*]} (for: ${missing[*]})"
"${sudo[@]}" apt-get update -q
for index in "${!packages[@]}"; do  # Older systems have the runtime in the package of clang.
  [ "${packages[index]}" != libclang-rt-dev ] || apt-cache show libclang-rt-dev >/dev/null 2>&1 ||
    unset "packages[index]"
done
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -q --no-install-recommends "${packages[@]}"
