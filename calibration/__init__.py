"""From a user's face to a Calibration: collecting it in guided steps, fitting it, keeping it."""
