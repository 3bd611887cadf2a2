"""The folder of a run: what is in it, how a run ends, and how it goes on."""
