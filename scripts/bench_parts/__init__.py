"""The parts of scripts/bench.py and scripts/growth.py."""
