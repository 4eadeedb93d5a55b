"""Conversations as tokens, with labels on the answers.

    sample -> turns (`turns`) -> text with the places of the answers (`rendering`) -> tokens and labels (`tokens`)
           -> the labels are compared with the answers as written (`comparison`) -> processor (`processing`)
           -> batch (`encoding`), of a very large one piece by piece (`pieces`)

What a model's chat template takes and writes is found by trials (`traits`), never by the name of its family.
"""

from adaptinf.models.chat.batch import Attempt, Encoded, Images, placed
from adaptinf.models.chat.encoding import encode, encode_usable, num_tokens
from adaptinf.models.chat.labelling import IGNORED, Labelled, labelled
from adaptinf.models.chat.prompts import encode_prompts, last_prompts, prompt_text, prompts_of_usable
from adaptinf.models.chat.traits import Traits, traits_of
from adaptinf.models.chat.turns import Unusable, text_of, without_images

__all__ = [
    "IGNORED",
    "Attempt",
    "Encoded",
    "Images",
    "Labelled",
    "Traits",
    "Unusable",
    "encode",
    "encode_prompts",
    "encode_usable",
    "labelled",
    "last_prompts",
    "num_tokens",
    "placed",
    "prompt_text",
    "prompts_of_usable",
    "text_of",
    "traits_of",
    "without_images",
]
