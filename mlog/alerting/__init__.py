"""Alerts: rules over what a run records, and what is done where one holds."""
