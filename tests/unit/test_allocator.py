"""What is told to the C library's allocator does no harm."""

import subprocess
import sys
from pathlib import Path

import pytest

FREED_MB = 8
SCRIPT = f"""
from poller.allocator import give_back_large_blocks

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

give_back_large_blocks()
behind = []
for _ in range(3):
    freed = bytearray(b"x" * ({FREED_MB} << 20))
    behind.append(bytearray(b"y" * 100_000))
    before = resident_mb()
    del freed
    print(before - resident_mb())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells how much is resident")
def test_a_large_block_that_is_freed_goes_back_to_the_system_the_third_time_too() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout

    assert [float(line) > FREED_MB * 0.9 for line in told.split()] == [True] * 3
