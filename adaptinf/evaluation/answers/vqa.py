"""VQA accuracy: the answers of ten people, and a right one is what three others said as well."""

from __future__ import annotations

import re
from functools import lru_cache

from adaptinf.evaluation.answers.item import Item
from adaptinf.registry import metric

ENOUGH = 3
"""People who have to agree with an answer that is wholly right."""
_REMOVED = ';/[]"{}()=+\\_-><@`,?!'
_IN_NUMBER = re.compile(r"(?<=\d),+(?=\d)")
_FULL_STOP = re.compile(r"\.(?!\d)")
_NUMBERS = {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_SHORT_FORMS = frozenset(
    "aint arent cant couldve couldnt couldntve didnt doesnt dont hadnt hadntve hasnt havent hed hedve hes howd howll "
    "hows isnt itd itdve itll lets maam mightnt mightntve mightve mustnt mustve neednt notve oclock oughtnt shant "
    "shedve shes shouldve shouldnt shouldntve somebodyd somebodydve somebodyll somebodys someoned someonedve someonell "
    "someones somethingd somethingdve somethingll thats thered theredve therere theres theyd theydve theyll theyre "
    "theyve twas wasnt wedve weve werent whatll whatre whats whatve whens whered wheres whereve whod whodve wholl whos "
    "whove whyll whyre whys wont wouldve wouldnt wouldntve yall yallll yalldve youd youdve youll youre youve".split()
)
"""Contractions without their apostrophes; where these make another word (its, well), they are not here."""


@metric("vqa_accuracy")
def vqa_accuracy(item: Item) -> float:
    """Return the mean, over leaving out one person, of min(1, others with this answer / 3), texts normalised as VQA's.

    With fewer than four answers, all others have to agree.
    """
    predicted, answers = plain(item.prediction), [plain(answer) for answer in item.answers]
    same = [answer == predicted for answer in answers]
    if len(same) == 1:
        return float(same[0])
    enough = min(ENOUGH, len(same) - 1)
    return sum(min(1.0, (sum(same) - own) / enough) for own in same) / len(same)


@lru_cache(maxsize=10_000)
def plain(text: str) -> str:
    """Return a text as VQA compares it: lower case, no punctuation and articles, numbers up to ten in digits.

    A text of nothing else stays, so that an empty prediction is no answer to "a".
    """
    line = " ".join(text.lower().split())
    has_grouped = _IN_NUMBER.search(line) is not None
    bare = line
    for mark in _REMOVED:
        # A mark beside a blank is removed, one between two words divides them; all are in a text with 1,000.
        is_removed = has_grouped or f"{mark} " in line or f" {mark}" in line
        bare = bare.replace(mark, "" if is_removed else " ")
    words = [_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", bare).split()]
    return " ".join(_short(word) for word in words if word not in _ARTICLES) or line


def _short(word: str) -> str:
    """Return a contraction without apostrophes, so that it is the same with and without them."""
    without = word.replace("'", "")
    return without if without in _SHORT_FORMS else word
