"""The most memory that this process has had."""

from pathlib import Path


def peak_bytes() -> int:
    """Give it in bytes; Linux's `ru_maxrss` would count what a parent had before the fork."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(fields["VmHWM"].removesuffix("kB"))
