"""The front door: command line, settings, and the composition root that wires all the floors."""

__version__ = "0.1.0"
