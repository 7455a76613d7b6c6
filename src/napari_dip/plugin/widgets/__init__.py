"""The parts of a dock."""
