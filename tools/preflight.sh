#!/bin/sh
# Says what this machine lacks for an install, all at once, with the command that mends it.
python=${1:-}
missing=""
advice=""

need() {
    missing="$missing\n  - $1"
    advice="$advice $2"
}

if [ -z "$python" ]; then
    need "Python 3.11, 3.12 or 3.13" "python3"
    need "Python's venv module" "python3-venv"
    need "Python's headers" "python3-dev"
else
    if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
        need "Python 3.11, 3.12 or 3.13 ($python is $("$python" -V 2>&1)); name another with PYTHON=…" "python3"
    fi
    "$python" -c 'import venv, ensurepip' 2>/dev/null || need "Python's venv module" "python3-venv"
    "$python" -c '
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        need "Python's headers (annoy and other extensions compile against them)" "python3-dev"
fi
command -v g++ >/dev/null 2>&1 || need "a C++ compiler (llama.cpp is built from source)" "g++"
command -v make >/dev/null 2>&1 || need "make" "make"

if [ -n "$missing" ]; then
    printf 'Greenroom needs a few things that are not on this machine:%b\n' "$missing"
    printf 'On Debian or Ubuntu:\n  sudo apt-get install -y%s\n' "$advice"
    exit 1
fi
