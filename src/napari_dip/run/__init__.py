"""How one call becomes a result."""
