"""Answering test items: in units of work (`units`) by a model of transformers (`work`), or by vLLM (`served`)."""

from adaptinf.evaluation.answering.served import ServedWork, Server
from adaptinf.evaluation.answering.units import Plan, Unit
from adaptinf.evaluation.answering.work import Answerer, AnswerWork

__all__ = ["AnswerWork", "Answerer", "Plan", "ServedWork", "Server", "Unit"]
