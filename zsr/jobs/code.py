"""Whether the code that a job runs is the code of its spec."""

from zsr.errors import ZsrError
from zsr.guard.watch import WATCH, unwatched
from zsr.plan import fingerprint


def check_code(job: str, planned: dict) -> dict[str, str]:
    """Compare the code on disk, and the code that this process imported, with the fingerprint of a spec.

    Returns the hash of each file. From here on no other file of the project may be used (zsr/guard/watch.py).
    """
    fingerprint.forget()
    roots = {key: value for key, value in planned.items() if key != "digest"}
    with unwatched():
        on_disk = fingerprint.fingerprint(**roots)
    if on_disk.digest != planned["digest"]:
        raise ZsrError(
            f"{job}: the code changed after this job was planned (fingerprint {on_disk.digest}, "
            f"planned {planned['digest']}); run snakemake again"
        )
    WATCH.check(on_disk.files)
    for name, contents in WATCH.used.items():
        if name in on_disk.files and not all(on_disk.has(name, content) for content in contents):
            raise ZsrError(
                f"{job}: {name} changed after this job was planned and was put back; what this job ran is not what its "
                "spec says; run snakemake again"
            )
    return on_disk.files
