"""llama.cpp's log, whose errors are also said on stderr and searched for a lack of memory."""

from __future__ import annotations

import os

from models.llama.library import LogTail
from models.llama.shortage import tells_of_shortage

_STDERR, _ERROR_LEVEL = 2, 4


class SpokenLog(LogTail):
    """A LogTail; `shortage` is the first error that told of a lack of memory, "" if none did.

    When llama.cpp aborts ("CUDA error"), why is told to its log just before. With `aloud`, errors go
    to stderr as well, and so are among a dead process's last words.
    """

    def __init__(self, *, aloud: bool) -> None:
        self.shortage = ""
        self._aloud = aloud
        super().__init__()

    def _hear(self, level: int, text: bytes, data: object) -> None:
        super()._hear(level, text, data)
        if level != _ERROR_LEVEL:
            return
        line = text.decode("utf-8", "replace").strip()
        if not self.shortage and tells_of_shortage(line):
            self.shortage = line
        if self._aloud:
            # Unbuffered: an abort may come next.
            os.write(_STDERR, text.rstrip() + b"\n")
