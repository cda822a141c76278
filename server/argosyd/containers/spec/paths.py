"""Paths of /proc and /sys that a container may not see or not write (Docker's defaults, daemon/pkg/oci/defaults.go)."""

from __future__ import annotations

import glob

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def thermal_throttle(sys: str = "/sys") -> tuple[str, ...]:
    """What tells of each CPU's heat, and so of what others compute (GHSA-6fw5-f8r9-fgfm); in the order of CPUs."""
    found = glob.glob(f"{glob.escape(sys)}/devices/system/cpu/cpu[0-9]*/thermal_throttle")
    return tuple(sorted(found, key=lambda path: (len(path), path)))
