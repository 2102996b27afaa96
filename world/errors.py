"""What can go wrong with a world.

::

    GreenroomError
    ├── SceneError         scene            a scene file that can't be used: names file, key and mend
    ├── StorageError       storage          the world's folder can't be opened or written
    │   ├── NewerLayout    storage_newer    written by a newer Greenroom; refused
    │   ├── NoRoom         storage_full     the disk has no room for a copy; nothing was begun
    │   ├── WorldBusy      storage_busy     another process holds this world
    │   └── VectorsDamaged vectors_damaged  frozen vectors that are not as they were written
    ├── VectorError        vector           a vector, key or filter that can't be stored or searched
    ├── RulesetError       ruleset          species, actions or considerations that don't fit together
    ├── StateError         state            a saved state that can't be lived on from
    └── ReplayError        replay           a journal that can't be stepped again: names the tick
"""

from __future__ import annotations

from foundation.errors import GreenroomError


class SceneError(GreenroomError):
    """A scene is not usable; the message names the file and the key, the hint the mend."""

    code = "scene"


class StorageError(GreenroomError):
    """The world's folder can't be opened, read or written."""

    code = "storage"


class NewerLayout(StorageError):
    """The folder was written by a newer Greenroom."""

    code = "storage_newer"


class NoRoom(StorageError):
    """The disk has no room for what was to be written; nothing was begun."""

    code = "storage_full"


class WorldBusy(StorageError):
    """Another process holds this world."""

    code = "storage_busy"


class VectorsDamaged(StorageError):
    """A file of vectors is missing, cut short or altered; the message names it."""

    code = "vectors_damaged"


class VectorError(GreenroomError):
    """A vector, key or filter is not usable; the message says why, the hint the mend."""

    code = "vector"


class RulesetError(GreenroomError):
    """Species, actions or considerations don't fit together; the message names the part."""

    code = "ruleset"


class StateError(GreenroomError):
    """A saved state can't be used with these rules; the message names what is missing."""

    code = "state"


class ReplayError(GreenroomError):
    """The journal can't be stepped again; the message names the tick."""

    code = "replay"
