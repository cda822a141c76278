"""Containers: made, run, watched, entered, copied, removed.

`room.Containers` puts the parts together and hands them to the API:

- `records`, `store`: what is kept of a container, written before each step (`Intent`), in SQLite.
- `cell`, `index`: the containers in memory; one lock each, lists and look-ups wait for none of them.
- `create`, `launch`, `lifecycle`: from a request to a snapshot, from there to a running process, its end and what
  follows from it; `control` is what users do to containers that exist; `restart` and `health` are pure rules with
  little around them.
- `restore`: what a daemon that starts makes of what an earlier one left.
- `spec/`: the OCI runtime spec as a pure function of request, image, network and host.
- `attach`, `exec`, `logs/`: streams. `copy`, `roots`: files. `observe`, `change`, `commit`,
  `membership`, `listing`: the rest of the API, one subject each.

Below it, `argosyd.runtime` speaks to conmon, the OCI runtime, cgroups and the kernel, and knows no container.
"""
