"""Loading any Hugging Face model, and turning conversations into tokens with the answers marked."""

from adaptinf.models.loading import Learner, load

__all__ = ["Learner", "load"]
