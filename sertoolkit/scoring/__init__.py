"""Scores of predictions: one table, tests and verdicts."""

METRICS = ("accuracy", "uar", "macro_f1", "weighted_f1")
"""names of scores; here, where the command line reads them without numpy"""
