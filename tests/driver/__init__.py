"""A random driver: many commands at once, kill -9, full disks; afterwards the record must equal the world.

`python -m tests.driver --seed 7 --operations 300` replays what a seed chose. `operations` is what is done, `world` what
is compared, `driver` when.
"""
