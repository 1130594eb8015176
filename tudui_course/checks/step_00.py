"""Exercises of 00_start_here: how checking works, and what the first loss says."""

import math
from statistics import fmean

from tudui_course.checks.judges import judge_figure, judge_function, judge_prediction
from tudui_course.checks.table import exercise

CURVES = (  # noisy, and of different lengths
    [2.3 - 0.01 * step + (0.3 if step % 3 == 0 else -0.1) for step in range(100)],
    [1.0] * 10 + [9.0] * 7 + [0.25] * 10,
    [0.5 + 0.02 * step * step for step in range(40)],
)


def fall(losses):
    return fmean(losses[:10]) - fmean(losses[-10:])


q1 = exercise("00.1", judge_figure(math.log(50_000)), within=1e-2)
q2 = exercise("00.2", judge_function(fall, [(curve,) for curve in CURVES]), within=1e-3)
q3 = exercise("00.3", judge_prediction(0.2, options=(0.9, 0.7, 0.5, 0.2)))  # 0.19 in the notebook
