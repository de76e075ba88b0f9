"""Robust teacher: from a file, RobustBench's zoo, a user's function, or trained here (stage `teacher`)."""

from .config import NaturalTeacherConfig, TeacherConfig
from .making import make_teacher, teacher_model, weight_file

__all__ = ["NaturalTeacherConfig", "TeacherConfig", "make_teacher", "teacher_model", "weight_file"]
