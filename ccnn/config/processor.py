"""The precision that this machine's processor computes fast in, found without importing torch."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16"}


def computes_in_bf16() -> bool:
    """Tells whether the processor has instructions for bf16; without them bf16 is many times slower than float32.

    Linux lists them; elsewhere nothing is known, and the answer is no.
    """
    return bool(_BF16 & set(cpuinfo("flags").split()))


def cpuinfo(name: str) -> str:
    """What Linux says of the first core, such as its `model name`; nothing elsewhere."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def cpu_precision() -> str:
    """Returns the recommended `trainer.precision` for this processor."""
    return "bf16-mixed" if computes_in_bf16() else "32-true"
