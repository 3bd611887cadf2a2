"""The report: finished runs, gathered into the paper's tables and plots."""
