"""The window (PySide6): it knows puppet and calibration, and never the inside of an engine."""
