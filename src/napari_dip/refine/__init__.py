"""The second look at the data, after the fit: what the prior has not learnt, or has too much of."""
