"""Runs: starting, joining, logging to and ending them."""
