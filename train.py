"""Trains, evaluates or benchmarks one network, or a sweep of them: `python train.py --help`."""

from ccnn.cli.train import main

if __name__ == "__main__":
    main()
