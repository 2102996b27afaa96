#!/bin/sh
# Prints the CMake arguments with which llama.cpp must be compiled here; nothing where its own will do.
#
# GCC before 12.4 and 13.3 may drop the stores to the tile configuration of AMX (GCC bug 114098), and a llama.cpp
# that was built with it for a CPU with AMX dies of SIGILL when it first multiplies matrices. So the compiler
# is tried on such a CPU. Where its program dies it is told to keep all stores (prompts are read three times as fast with AMX as without),
# and where that does not help either, llama.cpp is built without AMX, with all else that the CPU has.
#
# "llama_flags.sh --without-amx" prints what leaves AMX out, without trying.
set -u
without_amx="-DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__"
if [ "${1:-}" = --without-amx ]; then
    echo "$without_amx"
    exit 0
fi
[ "$(uname -sm)" = "Linux x86_64" ] || exit 0
work=$(mktemp -d) || exit 0
trap 'rm -rf "$work"' EXIT
cat >"$work/tiles.cpp" <<'PROGRAM'
#if !defined(__AMX_INT8__)
int main() { return 0; }
#else
#include <cstdint>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
struct Tiles { uint8_t palette = 0, start = 0; uint8_t kept[14] = {0}; uint16_t bytes[16] = {0}; uint8_t rows[16] = {0}; };
static char memory[1024];
__attribute__((noinline)) static void configure() {
    alignas(64) Tiles tiles = {};
    tiles.palette = 1;
    tiles.rows[0] = 8;
    tiles.bytes[0] = 64;
    _tile_loadconfig(&tiles);
}
int main() {
    if (syscall(SYS_arch_prctl, 0x1023, 18)) return 0;  // no leave to use tiles: llama.cpp asks too, and does without
    configure();
    _tile_loadd(0, memory, 64);
    return 0;
}
#endif
PROGRAM
works() {
    "${CXX:-c++}" -O3 -march=native "$@" "$work/tiles.cpp" -o "$work/tiles" 2>/dev/null && "$work/tiles" 2>/dev/null
}
# CMake takes c++ too, unless CXX names another. A compiler that can't compile the program is left to CMake to name.
"${CXX:-c++}" -O3 -march=native "$work/tiles.cpp" -o "$work/tiles" 2>/dev/null || exit 0
works && exit 0
if works -fno-dse; then
    echo "-DCMAKE_C_FLAGS=-fno-dse -DCMAKE_CXX_FLAGS=-fno-dse"
else
    echo "$without_amx"
fi
