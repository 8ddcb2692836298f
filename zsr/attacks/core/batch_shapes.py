"""How many rows a batch has: the networks may be compiled or captured for the shapes that they meet."""

from dataclasses import dataclass

from zsr.errors import ZsrError, unknown

POLICIES = ("auto", "exact", "bucket", "fixed")


@dataclass(frozen=True)
class BatchShapes:
    """The batch size, and the policy for batches of fewer images.

    'exact': as many rows as images, the default on a CPU; 'bucket': a power of two, the default on a GPU (few shapes to
    compile or capture); 'fixed': always a full batch, padded with copies, so that verdicts are equal bit for bit
    whatever else is in the batch.
    """

    batch_size: int = 64
    policy: str = "exact"

    @classmethod
    def of(cls, batch_size: int, policy: str, device_type: str) -> "BatchShapes":
        """Checks both; 'auto' becomes the default of the device."""
        if batch_size < 1:
            raise ZsrError(f"attack: batch_size={batch_size} must be at least 1")
        if policy not in POLICIES:
            raise unknown("shapes", policy, POLICIES, "attack")
        if policy == "auto":
            policy = "bucket" if device_type == "cuda" else "exact"
        return cls(batch_size, policy)

    @property
    def fixed(self) -> bool:
        return self.policy == "fixed"

    def rows(self, images: int) -> int:
        """The number of rows of a batch of so many images."""
        if self.policy == "exact" or images >= self.batch_size:
            return images
        if self.policy == "fixed":
            return self.batch_size
        return min(self.batch_size, 1 << max(images - 1, 0).bit_length())
