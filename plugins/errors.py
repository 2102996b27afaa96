"""What can go wrong with a plugin.

::

    GreenroomError
    └── PluginError    plugin    a plugin that fails or gives nonsense; it is switched off
"""

from __future__ import annotations

from foundation.errors import GreenroomError


class PluginError(GreenroomError):
    """A plugin can't be used; the message names it and the hook. The others stay loaded."""

    code = "plugin"

    def __init__(self, plugin: str, message: str, hint: str = "") -> None:
        super().__init__(f"plugin {plugin!r}: {message}", hint)
        self.plugin = plugin
