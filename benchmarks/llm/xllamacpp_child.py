"""llama.cpp's server out of the wheel `xllamacpp`: run by path, by a Python that has that package.

The one argument is JSON: the `CommonParams` to set, "a.b" for a field of a field. It prints one
line of JSON with the address, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Serve until the other end is gone."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        import xllamacpp
    except ImportError as error:
        print(json.dumps({"error": f"xllamacpp can't be imported: {error}"}), file=answers)
        return
    params: Any = xllamacpp.CommonParams()
    for key, value in json.loads(sys.argv[1]).items():
        *path, name = key.split(".")
        target = params
        for part in path:
            target = getattr(target, part)
        setattr(target, name, value)
    server = xllamacpp.Server(params)
    told = {
        "address": server.listening_address,
        "version": xllamacpp.__version__,
        "build": xllamacpp.get_system_info(),
    }
    print(json.dumps(told), file=answers, flush=True)
    sys.stdin.read()
    # Its threads have no need of a farewell.
    os._exit(0)


if __name__ == "__main__":
    main()
