"""Which images the network can make."""
