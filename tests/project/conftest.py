"""The tests import `benchmarks/`, which is no package."""

import sys

from support.project import ROOT

sys.path.append(str(ROOT / "benchmarks"))
