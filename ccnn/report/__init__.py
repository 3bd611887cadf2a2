"""Reports on runs, evaluations and measurements: tables beside the paper's numbers, and plots."""
