"""The core: from a driver's face to a moving portrait, without window and without network."""

__version__ = "0.1.0"
