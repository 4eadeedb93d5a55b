"""All skills, one module per family; the last module has the skills of the text-only stream."""

from __future__ import annotations

from adaptinf.demo.skills import (
    grounding,
    knowledge_vqa,
    language_only,
    multi_image,
    multilingual,
    reasoning,
    text_only,
    vqa,
)
from adaptinf.demo.skills.skill import Content, Skill

__all__ = ["SKILLS", "Content", "Skill"]

SKILLS: dict[str, Skill] = {
    skill.name: skill
    for family in (vqa, knowledge_vqa, multilingual, grounding, reasoning, language_only, multi_image, text_only)
    for skill in family.SKILLS
}
