"""Claims about normalization: train their runs, judge them by their rules, and show the verdicts."""
