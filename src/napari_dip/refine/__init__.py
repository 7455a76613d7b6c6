"""What is done with a fitted image: patches, spectral shrinkage, ADMM, ensemble, source flux."""
