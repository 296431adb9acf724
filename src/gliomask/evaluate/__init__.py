"""Evaluation: predicted label maps against references, every case accounted for."""

from gliomask.evaluate.results import write_evaluation
from gliomask.evaluate.scoring import CaseResult, Evaluation, Status, evaluate

__all__ = ["CaseResult", "Evaluation", "Status", "evaluate", "write_evaluation"]
