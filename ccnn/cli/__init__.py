"""The commands ccnn-train, ccnn-evaluate and ccnn-report, and how each ends when something goes wrong."""
