"""Restorations, forecasts and batches in the background."""
