"""How the network is fitted, and when the fit stops."""
