"""Loading Hugging Face models, and turning conversations into tokens with labels on the answers."""

from adaptinf.models.loading import Learner, load

__all__ = ["Learner", "load"]
