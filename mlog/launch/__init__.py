"""Script runs: a program is submitted, and runs under the eyes of a supervisor."""
