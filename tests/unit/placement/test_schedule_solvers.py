"""What the schedulers do with images, shared instances, limits and caps, on cases small enough to reckon by hand."""

import pytest

from tephra.placement.schedule.metrics import figures
from tephra.placement.schedule.model import Edge, Task, Workflow
from tephra.placement.schedule.result import Fetch
from tephra.placement.schedule.solve import PLANNERS, SOLVERS, schedule
from tests.support.workflows import platform, problem_of, runs, valid

SECOND = 1_000_000
IMAGE = 125_000_000  # one second at 1 Gbit/s


def fork(width: int, work: int = 2_000) -> Workflow:
    """`width` chains of b and c between one a and one d, with negligible data."""
    chains = [(f"b{number}", f"c{number}") for number in range(width)]
    names = ["a", *(name for chain in chains for name in chain), "d"]
    edges = [edge for b, c in chains for edge in (Edge("a", b, 125), Edge(b, c, 125), Edge(c, "d", 125))]
    return Workflow(tuple(Task(name, name[0], work) for name in names), tuple(edges))


@pytest.mark.parametrize("cap", [None, 1_000])
@pytest.mark.parametrize("present", ["", "abcd"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_scheduler_keeps_every_rule(solver: str, present: str, cap: int | None) -> None:
    given = (
        fork(4),
        platform([1_000, 1_500, 2_000], present=present, images=dict.fromkeys("abcd", IMAGE), per_vm=2, cap=cap),
    )
    result = valid(given, schedule(*given, solver=solver, seconds=1))
    assert result.gap >= 0


@pytest.mark.parametrize("present", ["", "abcd"])
def test_ours_is_not_later_than_any_of_the_others(present: str) -> None:
    given = fork(6), platform([1_000, 1_500, 2_000], present=present, images=dict.fromkeys("abcd", IMAGE), per_vm=2)
    ours = valid(given, schedule(*given)).makespan_us
    assert ours <= min(schedule(*given, solver=name).makespan_us for name in PLANNERS)


def test_the_plans_of_the_literature_fetch_an_image_when_its_first_function_is_about_to_start() -> None:
    given = fork(1, work=1_000), platform([1_000], images=dict.fromkeys("abcd", IMAGE))
    result = valid(given, schedule(*given, solver="heft"))
    assert runs(result)["d"][2] == 8 * SECOND
    assert [fetch.start_us for fetch in result.fetches] == [0, 2 * SECOND, 4 * SECOND, 6 * SECOND]


def test_ours_fetches_ahead_in_the_order_of_the_schedule_and_is_proved_optimal() -> None:
    given = fork(1, work=1_000), platform([1_000], images=dict.fromkeys("abcd", IMAGE))
    result = valid(given, schedule(*given))
    assert result.fetches == tuple(
        Fetch(image, "vm1", at * SECOND, (at + 1) * SECOND) for at, image in enumerate("abcd")
    )
    assert (result.makespan_us, result.gap) == (5 * SECOND, 0)


def test_the_repository_serves_one_transfer_at_a_time() -> None:
    two = Workflow((Task("x", "x", 1_000), Task("y", "y", 1_000)), ())
    given = two, platform([1_000, 1_000], images={"x": IMAGE, "y": IMAGE})
    result = valid(given, schedule(*given, solver="heft"))
    assert sorted(end for _, _, end in runs(result).values()) == [2 * SECOND, 3 * SECOND]


def test_a_large_image_keeps_functions_together_and_a_small_one_lets_them_spread() -> None:
    machines = [1_000, 1_000, 1_000, 1_000]
    tight = fork(4), platform(machines, images=dict.fromkeys("abcd", 100 * IMAGE))
    loose = fork(4), platform(machines, images=dict.fromkeys("abcd", IMAGE // 100))
    together, apart = (figures(problem_of(given), valid(given, schedule(*given))) for given in (tight, loose))
    assert (together.vcpus, together.sharing) == (1, 10 / 4)
    assert apart.vcpus == 4


@pytest.mark.parametrize("solver", ["aware", "exact"])
def test_a_limit_of_vcpus_is_kept(solver: str) -> None:
    given = fork(4), platform([1_000, 1_000, 1_000], present="abcd")
    result = valid(given, schedule(*given, solver=solver, limit=2))
    assert figures(problem_of(given), result).vcpus == 2
    assert result.makespan_us == pytest.approx(2 * (1 + 4 + 1) * SECOND, rel=1e-3)


def test_a_cap_of_half_a_core_halves_what_runs_at_once() -> None:
    tasks = Workflow(tuple(Task(f"f{number}", "f", 1_000, usage_m=500) for number in range(4)), ())
    uncapped, capped = platform([1_000], present="f", per_vm=2), platform([1_000], present="f", per_vm=2, cap=900)
    assert valid((tasks, uncapped), schedule(tasks, uncapped)).makespan_us == 2 * SECOND
    assert valid((tasks, capped), schedule(tasks, capped)).makespan_us == 4 * SECOND


def test_the_same_seed_gives_the_same_schedule() -> None:
    given = fork(5), platform([1_000, 1_300, 1_700], images=dict.fromkeys("abcd", IMAGE), per_vm=2)
    assert schedule(*given, seed=7) == schedule(*given, seed=7)


def test_phase_one_of_sf_cuv_makes_a_cluster_of_each_chain() -> None:
    """CUV-FIX shows them: the longest chain with the entry and the exit, and the others on vCPUs of their own."""
    given = fork(3), platform([1_000] * 4, present="abcd")
    where = {task: vcpu for task, (vcpu, _, _) in runs(valid(given, schedule(*given, solver="cuv-fix"))).items()}
    assert all(where[f"b{number}"] == where[f"c{number}"] for number in range(3))
    assert len(set(where.values())) == 3
    assert where["a"] == where["d"]


def test_phase_two_of_sf_cuv_moves_a_function_to_where_its_type_already_runs() -> None:
    """The second b is ready when the first has ended: sharing its vCPU costs no time, so an instance is saved."""
    work = {"a": 1_000, "z": 2_000, "e": 5_000, "b1": 900, "x": 3_000, "b2": 900, "d": 9}
    pairs = [("a", "z"), ("z", "e"), ("e", "d"), ("a", "b1"), ("b1", "e"), ("a", "x"), ("x", "b2"), ("b2", "d")]
    tasks = tuple(Task(name, name[0], length) for name, length in work.items())
    given = Workflow(tasks, tuple(Edge(*pair) for pair in pairs)), platform([1_000] * 4, present="abdexz")
    shared, fixed = (valid(given, schedule(*given, solver=name)) for name in ("sf-cuv", "cuv-fix"))
    assert figures(problem_of(given), shared).sharing == 7 / 6
    assert figures(problem_of(given), fixed).sharing == 1
    assert shared.makespan_us == fixed.makespan_us == 8_009_000


def test_efficiency_is_one_on_a_single_vcpu_without_waiting() -> None:
    given = fork(2), platform([1_000], present="abcd")
    assert figures(problem_of(given), schedule(*given)).efficiency == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"solver": "best"}, "solver: best is not one of aware, exact, sf-cuv"),
        ({"solver": "heft", "limit": 2}, "limit: heft has no limit"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str | int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        schedule(fork(1), platform([1_000], present="abcd"), **options)  # type: ignore[arg-type]
