"""The parts of which docks are made."""
