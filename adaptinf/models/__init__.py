"""Loading Hugging Face models, and turning conversations into tokens with labels on the answers."""

import logging

from adaptinf.models.torchvision import torchvision_fault

# Its import, which PEFT does wherever it is installed, says what faster kernels it lacks, and then every call.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
# Before anything of transformers is imported, which a torchvision of another torch would break.
torchvision_fault()

from adaptinf.models.loading import Learner, load  # noqa: E402
from adaptinf.models.recipe import LearnerRecipe  # noqa: E402

__all__ = ["Learner", "LearnerRecipe", "load", "torchvision_fault"]
