"""The folder of a run: its record, checkpoints, lock, and how it ends and resumes."""
