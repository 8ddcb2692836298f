"""One entry point per rule: read the spec, call the library, write the files."""

from zsr.guard.start import watch_job

watch_job()
