"""Seeds as pure functions of what they are for, so that no random draw depends on how many came before it."""

from hashlib import blake2b


def derive_seed(*parts: int | str) -> int:
    """Mixes `parts` into a seed: the same parts give the same seed, any other parts an unrelated one.

    Begin with a word for the purpose, so that two purposes never share a stream of random numbers:
    `derive_seed("dropout", seed, step, rank)`.

    Args:
        *parts: what the seed depends on, in order. `1` and `"1"` are different parts.

    Returns:
        A number in [0, 2**63), good for `torch.Generator.manual_seed` and `torch.manual_seed`.
    """
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
