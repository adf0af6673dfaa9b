"""Function scheduling: in what order and on which virtual CPU the functions of a workflow run, and when images travel.

`model` says what is scheduled on what, `problem` is the same as arrays, `timeline` and `execute` turn decisions into
times, `sf_cuv`, `heft`, `peft`, `cap`, `com` are the schedulers of the literature, `aware` is ours, `exact` the optimum
for small cases, `check` the independent checker, `metrics` the figures of merit, `wfformat` the loader.
"""
