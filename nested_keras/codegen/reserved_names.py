"""Names that a generated library may have: its files, functions and CMake target bear the name."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_KEYWORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept
    const const_cast consteval constexpr constinit continue co_await co_return co_yield decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend
    goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq
    private protected public register reinterpret_cast requires restrict return short signed sizeof
    static static_assert static_cast struct switch template this thread_local throw true try typedef
    typeof typeof_unqual typeid typename union unsigned using virtual void volatile wchar_t while
    xor xor_eq
"""
# Headers of ISO C and of POSIX, and headers that the ones of glibc, newlib and picolibc include.
_HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath
    threads time uchar wchar wctype
    aio cpio dirent dlfcn fcntl fmtmsg fnmatch ftw getopt glob grp iconv langinfo libgen libintl
    monetary ndbm netdb nl_types poll pthread pwd regex sched search semaphore spawn strings
    stropts syslog tar termios trace ulimit unistd utime utmpx wordexp
    alloca argz byteswap elf endian envz execinfo fastmath features ieeefp ieee754 libc link
    malloc memory mqueue newlib paths picolibc reent regdef resolv shadow stab stdc sysexits
    syslimits unctrl unwind utmp values xlocale arm_acle arm_mve arm_neon
"""
_CMAKE = """
    all clean depend edit_cache help install list_install_components package package_source
    preinstall rebuild_cache test debug general optimized
"""
# A target of such a name takes the place of the library in every target_link_libraries().
_LIBRARIES = "c dl g gcc m nosys pthread rt stdc"
# NAME_open() of POSIX, glibc, newlib and the BSDs: a library with a file of weights defines it too.
_FUNCTIONS = "dbm fts fts64 kvm mq pidfd pidfile sem shm"
_DEVICES = "aux con nul prn " + " ".join(f"com{i} lpt{i}" for i in range(10))

_RESERVED = {
    name: reason
    for names, reason in (
        (_DEVICES, "Windows has no file of that name"),
        (_LIBRARIES, "the name is a library of the system"),
        (_CMAKE, "CMake reserves it"),
        (_HEADERS, "{name}.h would hide a header of that name"),
        (_FUNCTIONS, "{name}_open() is a function of the system"),
        (_KEYWORDS, "the name is a keyword of C or C++"),
    )
    for name in names.split()
}


def checked_name(name: str) -> str:
    """Returns a name if a library may have the name.

    Args:
        name: Lower-case letters, digits and underscores, a letter first.

    Raises:
        ValueError: `name` is no such prefix, belongs to the kernels, hides a header of C, gives
            a function the name of one of the system, or is reserved by C, C++ or CMake.
    """
    if not _NAME.fullmatch(name) or name == "nk" or name.startswith("nk_"):
        raise ValueError(
            "name must be lower-case letters, digits and underscores, a letter first, "
            f"and neither nk nor start with nk_: got {name!r}"
        )
    if name in _RESERVED:
        raise ValueError(f"name must not be {name!r}: {_RESERVED[name].format(name=name)}")
    return name
