"""Stage `teacher`: a robust teacher, from a file, from RobustBench's zoo, from a user's function, or trained here."""

from .config import NaturalTeacherConfig, TeacherConfig
from .making import make_teacher, teacher_model, weight_file

__all__ = ["NaturalTeacherConfig", "TeacherConfig", "make_teacher", "teacher_model", "weight_file"]
