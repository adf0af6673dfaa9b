"""Benchmarks of quake beside OVS-DPDK and testpmd, in the same run and on the same cores.

`traffic` makes packets and rules, `switches` runs the three switches behind one interface, `cpu` reads what a thread
spent; each row is a module of its own that `__main__` calls. What is measured is packets per CPU-second of the
forwarding thread, which does not depend on what else the machine does.
"""
