# The text of the config, read before Snakemake's own readers get it wrong (zsr/config/text.py says where they do).

import sys

from snakemake.exceptions import WorkflowError

# the checkout first: rules, library and kernels of one version
sys.path.insert(0, workflow.basedir)

from zsr.config.text import check_files
from zsr.errors import ZsrError

try:
    check_files(workflow.configfiles or ["config.yaml"])
except ZsrError as error:
    raise WorkflowError(str(error)) from None
