"""Writes libtaut as one C++ file beside its header, for builds that want no build system.

    python tools/amalgamate.py FOLDER      writes FOLDER/taut.cpp and FOLDER/taut.h
    c++ -std=c++20 -O2 -fno-exceptions -fno-rtti -c taut.cpp

Each source keeps what is its own in a namespace of its own; headers come once, before what needs
them. Pragmas compile the decoders for AVX2 and AVX-512 for these, unless TAUT_NO_SIMD is defined;
those for NEON need none.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
PORTABLE = (
    "array/header", "rans/slots", "rans/read_table", "rans/read_streams", "split/header",
    "split/decode", "matrix/header", "matrix/tables", "matrix/basis", "matrix/columns",
    "matrix/lookup", "matrix/decode", "adaptive/header", "adaptive/numbers", "adaptive/decode",
    "records/layout", "records/header", "records/decode", "delta/header", "delta/decode",
    "codec/any", "simd/kernels", "simd/combine",
)  # fmt: skip
# Sources for wider instructions, by the part of their names: what they are compiled for, if that
# is not what all of the file is.
WIDE = {
    "neon": "",
    "avx2": "avx2,bmi2,popcnt",
    "avx512": "avx2,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2",
}
# What each of them has a copy of, compiled for it.
SHARED = ("simd/steps.hpp", "simd/numbers.hpp")
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"].*\n', re.MULTILINE)
_OPEN = re.compile(r"^namespace \{$", re.MULTILINE)
_CLOSE = re.compile(r"^\}  // namespace$", re.MULTILINE)
_ONCE = re.compile(r"^#pragma once\n", re.MULTILINE)

_TOP = """\
// libtaut in one file, made by tools/amalgamate.py: taut.h says what is in it, docs/c.md how to
// use it.
#if !defined(_WIN32) && !defined(_FILE_OFFSET_BITS)
#define _FILE_OFFSET_BITS 64
#endif
#if !defined(TAUT_STATIC) && !defined(TAUT_BUILDING)
#define TAUT_STATIC
#endif
#define TAUT_DECODE_ONLY 1
#if defined(__x86_64__) && defined(__GNUC__) && !defined(TAUT_NO_SIMD)
#define TAUT_AVX2 1
#define TAUT_AVX512 1
#elif defined(__aarch64__) && defined(__GNUC__) && !defined(TAUT_NO_SIMD)
#define TAUT_NEON 1
#endif
// The same values on every machine: no product is fused with a sum.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("-ffp-contract=off")
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
"""


class Amalgamation:
    """The text in the making."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.system: list[str] = []
        self.parts: list[str] = []

    def add(self, name: str, word: str = "") -> None:
        """Add a file, and before it the headers that it includes, each once.

        `word` names the copy of what is shared.
        """
        if name in self.seen:
            return
        self.seen.add(name)
        text = (CSRC / name).read_text(encoding="utf-8")
        for kind, header in _INCLUDE.findall(text):
            if kind == '"' and header != "taut.h":
                self.add(header, word)
            elif kind == "<" and header not in self.system and header not in _CONDITIONAL:
                self.system.append(header)
        own = _own(text, word if name in SHARED else name)
        if word:
            own = re.sub(r"\bwide(?=::| \{)", f"wide_{word}", own)
        self.parts.append(f"\n// ---- {name}\n{own}")

    def wide(self, word: str) -> None:
        """Add the sources for some wider instructions, compiled for these."""
        names = [
            path.relative_to(CSRC).as_posix()
            for path in sorted(CSRC.glob(f"simd/{word}*.cpp"))
            if not path.stem.endswith("encode")
        ]
        own = {f"simd/{word}.hpp", *SHARED}
        for name in (*names, *own):  # what is for any processor stands before
            for kind, header in _INCLUDE.findall((CSRC / name).read_text(encoding="utf-8")):
                if kind == '"' and header not in own:
                    self.add(header)
        push, pop = (_push(WIDE[word]), _POP) if WIDE[word] else ("", "")
        self.parts.append(f"\n#if TAUT_{word.upper()}\n{push}")
        self.seen.difference_update(SHARED)
        for name in names:
            self.add(name, word)
        self.parts.append(f"\n{pop}#endif\n")

    def text(self) -> str:
        """All of it."""
        system = "".join(f"#include <{header}>\n" for header in sorted(self.system))
        intrinsics = "".join(
            f"#if TAUT_{word}\n#include <{header}>\n#endif\n" for word, header in _INTRINSICS
        )
        return f'{_TOP}\n#include "taut.h"\n\n{system}{intrinsics}{"".join(self.parts)}'


_INTRINSICS = (("AVX2", "immintrin.h"), ("NEON", "arm_neon.h"))
# These are included where they stand, in what a system has; all others go to the top.
_CONDITIONAL = {"pthread.h", "immintrin.h", "intrin.h", "arm_neon.h", "cpuid.h"}
_POP = """\
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
"""


def _push(target: str) -> str:
    return (
        "#if defined(__clang__)\n"
        f'#pragma clang attribute push(__attribute__((target("{target}"))), apply_to = function)\n'
        f'#else\n#pragma GCC push_options\n#pragma GCC target("{target}")\n#endif\n'
    )


def _stays(include: re.Match[str]) -> str:
    return include[0] if include[2] in {"pthread.h", "intrin.h", "cpuid.h"} else ""


def _own(text: str, name: str) -> str:
    """A file's text with its unnamed namespaces in a named one, so that two files' do not meet."""
    unit = "unit_" + re.sub(r"\W", "_", name)
    text = _ONCE.sub("", text)
    text = _INCLUDE.sub(_stays, text)
    text = _OPEN.sub(f"namespace {unit} {{\nnamespace {{", text)
    return _CLOSE.sub(f"}}\n}}  // namespace {unit}\nusing namespace {unit};", text)


def amalgamate() -> str:
    """The text of taut.cpp."""
    made = Amalgamation()
    for name in PORTABLE:
        made.add(f"{name}.cpp")
    for word in WIDE:
        made.wide(word)
    for path in sorted(CSRC.glob("capi/*.cpp")):
        made.add(path.relative_to(CSRC).as_posix())
    return made.text()


def main() -> None:
    """Write both files."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "taut.cpp").write_text(amalgamate(), encoding="utf-8")
    (folder / "taut.h").write_bytes((ROOT / "include" / "taut.h").read_bytes())


if __name__ == "__main__":
    main()
