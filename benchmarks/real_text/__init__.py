"""A stream of real tasks for a real pre-trained language model: docs/real-text.md has the design."""
