"""Holds a job to its fingerprint: watches what it imports, opens and reads of the environment.

The fingerprint of a job's code (zsr/plan/fingerprint.py) is computed from its imports; the job is held to it:

- The project's modules are compiled from their source, never from bytecode (from_source.py): a `.pyc` whose source has
  the same size and time as another (`cp -p`, `rsync -t`, images with constant times) would run old code under a new
  fingerprint.
- The bytes that were imported are kept (watch.py), so that `JobRun.check_code` compares what ran, not what is on disk
  by then.
- A job that imports or opens a project file outside its fingerprint fails at once, in the process that does it. So does
  one that reads an environment variable which no spec holds (environment.py).

Importing from source costs 0.1 s for 75 files. The audit hook sees 20,000 events while torch is imported, 2 ms. The
package needs the standard library and `zsr.errors` alone: it is imported before everything else.
"""
