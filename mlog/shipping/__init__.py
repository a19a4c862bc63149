"""Shipping: carries the entries of runs from their files to remote sinks."""
