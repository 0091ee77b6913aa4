"""Candidates: one implementation under check, behind one calling convention."""

from errata.candidates.candidate import Argument, Candidate, CandidateError, Instance, Reply
from errata.candidates.local import LocalCandidate
from errata.candidates.program import Program, Source

__all__ = [
    "Argument",
    "Candidate",
    "CandidateError",
    "Instance",
    "LocalCandidate",
    "Program",
    "Reply",
    "Source",
]
