"""Family multilingual: questions about an image in French, German and Spanish."""

from __future__ import annotations

import numpy as np

from adaptinf.demo import canvas
from adaptinf.demo.phrasing import Exchange
from adaptinf.demo.skills.skill import Content, Skill
from adaptinf.demo.skills.vqa import crowd, one_thing
from adaptinf.demo.sources import Split

FAMILY = "multilingual"
FRENCH = {
    "red": "rouge", "green": "vert", "blue": "bleu", "yellow": "jaune",
    "purple": "violet", "orange": "orange", "white": "blanc", "black": "noir",
}  # fmt: skip
GERMAN = {
    "circle": "ein Kreis", "square": "ein Quadrat", "triangle": "ein Dreieck",
    "star": "ein Stern", "cross": "ein Kreuz", "ring": "ein Ring",
}  # fmt: skip
SPANISH = ("una figura", "dos figuras", "tres figuras", "cuatro figuras", "cinco figuras", "seis figuras")


def _french_color(rng: np.random.Generator, split: Split) -> Content:
    thing = one_thing(rng)
    return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({}, f"C'est {FRENCH[thing.color]}."),))


def _german_shape(rng: np.random.Generator, split: Split) -> Content:
    thing = one_thing(rng)
    return Content(images=(canvas.paint(rng, [thing]),), exchanges=(Exchange({}, f"Das ist {GERMAN[thing.shape]}."),))


def _spanish_count(rng: np.random.Generator, split: Split) -> Content:
    count = int(rng.integers(1, 7))
    return Content(
        images=(canvas.paint(rng, crowd(rng, count)),), exchanges=(Exchange({}, f"Hay {SPANISH[count - 1]}."),)
    )


SKILLS = (
    Skill(name="french_color", family=FAMILY, draw=_french_color, paraphrases=(
        "Quelle est la couleur de l'objet ?", "De quelle couleur est l'objet ?", "Dis-moi la couleur.",
        "L'objet a quelle couleur ?", "Donne la couleur de l'objet.", "Quelle couleur vois-tu ?",
        "La couleur, s'il te plaît ?", "Quelle couleur a cet objet ?",
        "Dis quelle est la couleur de l'objet.", "Quelle couleur l'objet a-t-il ?",
    )),
    Skill(name="german_shape", family=FAMILY, draw=_german_shape, paraphrases=(
        "Welche Form ist das?", "Was für eine Form siehst du?", "Nenne die Form.", "Welche Form hat das Ding?",
        "Was ist das für eine Form?", "Sag mir die Form auf Deutsch.", "Die Form, bitte?", "Welche Form ist zu sehen?",
        "Was für eine Form ist das?", "Nenne mir bitte die Form.",
    )),
    Skill(name="spanish_count", family=FAMILY, draw=_spanish_count, paraphrases=(
        "¿Cuántas figuras hay?", "¿Cuántas figuras ves?", "Cuenta las figuras.", "¿Cuál es el número de figuras?",
        "Dime cuántas figuras hay.", "¿Cuántas figuras tiene la imagen?", "El número de figuras, por favor.",
        "¿Puedes contar las figuras?",
        "Dime el número de figuras.", "¿Cuántas figuras puedes contar?",
    )),
)  # fmt: skip
