#!/bin/sh
# Lets the llama.cpp that was installed read a prompt; builds it anew where it dies of SIGILL, at last without AMX.
#
# It does when pip had kept a wheel that was compiled for another CPU, or with a compiler that needs the
# arguments of llama_flags.sh and did not get them.
set -u
here=$(dirname "$0")
python=$1

reads() {
    "$python" - "$here/../models/house/greenroom-house.gguf" <<'PROGRAM' >/dev/null 2>&1
import sys
from llama_cpp import Llama

Llama(sys.argv[1], n_ctx=256, n_batch=256, verbose=False).eval(list(range(300, 428)))
PROGRAM
}

# An install without the local engine has nothing to try.
"$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("llama_cpp") is None)' || exit 0
reads
[ $? -eq 132 ] || exit 0
echo "llama.cpp was compiled for another CPU than this one. Building it anew: about 6 minutes on 2 cores."
version=$("$python" -c 'from importlib.metadata import version; print(version("llama-cpp-python"))')

build() {
    "$python" -m pip cache remove 'llama_cpp_python*' >/dev/null 2>&1
    CMAKE_ARGS="${CMAKE_ARGS:-} $1" "$python" -m pip install --quiet --disable-pip-version-check --force-reinstall \
        --no-deps --no-binary llama-cpp-python "llama-cpp-python==$version"
}

build "$(sh "$here/llama_flags.sh")" || exit 1
reads
[ $? -eq 132 ] || exit 0
echo "It still dies. Building it once more, without AMX."
build "$(sh "$here/llama_flags.sh" --without-amx)" || exit 1
reads
[ $? -eq 132 ] || exit 0
echo "llama.cpp still ends by SIGILL. Say what to leave out in CMAKE_ARGS, for example"
echo "  CMAKE_ARGS=-DGGML_NATIVE=OFF make install"
exit 1
