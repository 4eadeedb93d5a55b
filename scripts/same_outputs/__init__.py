"""The parts of same_outputs.sh."""
