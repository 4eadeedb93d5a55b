"""Loading Hugging Face models, and turning conversations into tokens with labels on the answers."""

from adaptinf.models.loading import Learner, load
from adaptinf.models.recipe import LearnerRecipe

__all__ = ["Learner", "LearnerRecipe", "load"]
