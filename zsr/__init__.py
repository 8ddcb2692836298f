"""zsr, the zero-shot robustness workbench: CLIP, its data, its defences and its attacks, in one harness."""

from zsr.guard.from_source import import_from_source

import_from_source()
