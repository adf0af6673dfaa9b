"""Executes a plan that knows nothing of images: each is fetched when the first task that needs it is about to start.

That is how the workflow engine of the source works: "if a node has no SF for execution, it downloads the SF from the
Container Repository and then starts execution". The repository serves one transfer at a time, first come, first served.
"""

from tephra.placement.schedule.bounds import lower_bound
from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.result import Schedule, named
from tephra.placement.schedule.timeline import Plan, Pull, Timeline


def execute(problem: Problem, plan: Plan, solver: str) -> Schedule:
    """When the plan's tasks run: a vCPU keeps the plan's order and waits for the image of its next task."""
    machine = _Machine(problem, plan)
    while machine.queues:
        machine.step()
    return named(problem, list(plan.vcpu), machine.start, machine.arrived, bound=lower_bound(problem), solver=solver)


class _Machine:
    """The platform while it executes: what each vCPU still has to do, and what the repository has served."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        self._problem, self._plan = problem, plan
        self._timeline, self._free = Timeline(problem), [0] * len(problem.vcpus)
        self._repository_free = 0
        self.arrived: dict[Pull, int] = {}
        self.start: list[int] = [-1] * len(problem.tasks)
        self._rank = {task: number for number, task in enumerate(plan.order)}
        queues = {vcpu: [task for task in plan.order if plan.vcpu[task] == vcpu] for vcpu in set(plan.vcpu)}
        self.queues = {vcpu: list(reversed(tasks)) for vcpu, tasks in queues.items()}

    def step(self) -> None:
        """Start the task that asks first among the next ones of all vCPUs."""
        asks = [
            (self._asks_at(queue[-1], vcpu), self._rank[queue[-1]], queue[-1], vcpu)
            for vcpu, queue in self.queues.items()
            if all(self.start[source] >= 0 for source in self._problem.predecessors[queue[-1]])
        ]
        moment, _, task, vcpu = min(asks)
        ready = max(moment, self._image_at(self._problem.image[task], self._problem.vm[vcpu], moment))
        duration, usage = self._problem.duration[task][vcpu], self._problem.usage[task]
        self.start[task] = self._timeline.earliest(vcpu, ready, duration, usage)
        self._timeline.reserve(vcpu, self.start[task], duration, usage)
        self._free[vcpu] = self.start[task] + duration
        self.queues[vcpu].pop()
        if not self.queues[vcpu]:
            del self.queues[vcpu]

    def _asks_at(self, task: int, vcpu: int) -> int:
        """When the vCPU is idle and the task's data are on its VM."""
        problem, vm = self._problem, self._problem.vm[vcpu]
        data = [
            self.start[source]
            + problem.duration[source][self._plan.vcpu[source]]
            + problem.transfer[source, task][problem.vm[self._plan.vcpu[source]]][vm]
            for source in problem.predecessors[task]
        ]
        return max([self._free[vcpu], problem.input[task][vm], *data])

    def _image_at(self, image: int, vm: int, moment: int) -> int:
        if not self._problem.pull[image][vm]:
            return 0
        if (image, vm) not in self.arrived:
            self._repository_free = max(self._repository_free, moment) + self._problem.pull[image][vm]
            self.arrived[image, vm] = self._repository_free
        return self.arrived[image, vm]
