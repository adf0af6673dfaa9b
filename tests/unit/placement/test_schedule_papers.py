"""HEFT and PEFT on the worked examples of their own papers, to every start and end."""

import pytest

from tephra.placement.schedule.levels import bottom_levels
from tephra.placement.schedule.model import Platform, Workflow
from tephra.placement.schedule.peft import optimistic_costs
from tephra.placement.schedule.solve import schedule
from tests.support.workflows import problem_of, runs, tabled, valid

# Topcuoglu, Hariri, Wu 2002: Fig. 2 (graph), Table 1 (computation costs), Table 2 (ranks), Fig. 3a (schedule).
HEFT_EXAMPLE = tabled(
    {
        "1": (14, 16, 9),
        "2": (13, 19, 18),
        "3": (11, 13, 19),
        "4": (13, 8, 17),
        "5": (12, 13, 10),
        "6": (13, 16, 9),
        "7": (7, 15, 11),
        "8": (5, 11, 14),
        "9": (18, 12, 20),
        "10": (21, 7, 16),
    },
    {
        ("1", "2"): 18,
        ("1", "3"): 12,
        ("1", "4"): 9,
        ("1", "5"): 11,
        ("1", "6"): 14,
        ("2", "8"): 19,
        ("2", "9"): 16,
        ("3", "7"): 23,
        ("4", "8"): 27,
        ("4", "9"): 23,
        ("5", "9"): 13,
        ("6", "8"): 15,
        ("7", "10"): 17,
        ("8", "10"): 11,
        ("9", "10"): 13,
    },
)
# Arnabejad, Barbosa 2014: Fig. 1 (graph and costs), Table 1 (optimistic cost table), Fig. 2 (schedules).
PEFT_EXAMPLE = tabled(
    {
        "1": (22, 21, 36),
        "2": (22, 18, 18),
        "3": (32, 27, 43),
        "4": (7, 10, 4),
        "5": (29, 27, 35),
        "6": (26, 17, 24),
        "7": (14, 25, 30),
        "8": (29, 23, 36),
        "9": (15, 21, 8),
        "10": (13, 16, 33),
    },
    {
        ("1", "2"): 17,
        ("1", "3"): 31,
        ("1", "4"): 29,
        ("1", "5"): 13,
        ("1", "6"): 7,
        ("2", "8"): 3,
        ("2", "9"): 30,
        ("3", "7"): 16,
        ("4", "8"): 11,
        ("4", "9"): 7,
        ("5", "9"): 57,
        ("6", "8"): 5,
        ("7", "10"): 9,
        ("8", "10"): 42,
        ("9", "10"): 7,
    },
)


def test_heft_ranks_as_in_table_2() -> None:
    ranks = bottom_levels(problem_of(HEFT_EXAMPLE))
    assert ranks == pytest.approx([108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667], abs=1e-3)


def test_heft_schedules_as_in_figure_3a() -> None:
    assert runs(valid(HEFT_EXAMPLE, schedule(*HEFT_EXAMPLE, solver="heft"))) == {
        "1": ("P3", 0, 9),
        "2": ("P1", 27, 40),
        "3": ("P3", 9, 28),
        "4": ("P2", 18, 26),
        "5": ("P3", 28, 38),
        "6": ("P2", 26, 42),
        "7": ("P3", 38, 49),
        "8": ("P1", 57, 62),
        "9": ("P2", 56, 68),
        "10": ("P2", 73, 80),
    }


def test_peft_looks_ahead_as_in_table_1() -> None:
    assert optimistic_costs(problem_of(PEFT_EXAMPLE)) == [
        [64, 68, 86],
        [42, 39, 42],
        [27, 41, 43],
        [42, 39, 50],
        [28, 37, 28],
        [42, 39, 44],
        [13, 16, 22],
        [13, 16, 33],
        [13, 16, 20],
        [0, 0, 0],
    ]


def test_peft_schedules_as_in_figure_2() -> None:
    assert runs(valid(PEFT_EXAMPLE, schedule(*PEFT_EXAMPLE, solver="peft"))) == {
        "1": ("P1", 0, 22),
        "2": ("P1", 29, 51),
        "3": ("P1", 51, 83),
        "4": ("P1", 22, 29),
        "5": ("P3", 35, 70),
        "6": ("P2", 29, 46),
        "7": ("P1", 83, 97),
        "8": ("P2", 54, 77),
        "9": ("P3", 81, 89),
        "10": ("P2", 106, 122),
    }


def test_heft_is_later_on_the_example_of_peft() -> None:
    assert valid(PEFT_EXAMPLE, schedule(*PEFT_EXAMPLE, solver="heft")).makespan_us == 133


@pytest.mark.parametrize(("example", "peers"), [(HEFT_EXAMPLE, 80), (PEFT_EXAMPLE, 122)])
def test_ours_is_no_later_and_the_optimum_is_proved(example: tuple[Workflow, Platform], peers: int) -> None:
    ours = valid(example, schedule(*example))
    best = valid(example, schedule(*example, solver="exact"))
    assert best.lower_bound_us == best.makespan_us <= ours.makespan_us <= peers
