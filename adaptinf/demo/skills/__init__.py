"""The thirty skills of the demo stream, one file per family."""

from __future__ import annotations

from adaptinf.demo.skills import (
    grounding,
    knowledge_vqa,
    language_only,
    multi_image,
    multilingual,
    reasoning,
    vqa,
)
from adaptinf.demo.skills.skill import Content, Skill

__all__ = ["SKILLS", "Content", "Skill"]

SKILLS: dict[str, Skill] = {
    skill.name: skill
    for family in (vqa, knowledge_vqa, multilingual, grounding, reasoning, language_only, multi_image)
    for skill in family.SKILLS
}
