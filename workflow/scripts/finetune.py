"""Fine-tune one model on the source set and keep the tensors that changed."""

import torch
from safetensors.torch import save_file

from zsr.jobs.cost import peak_megabytes
from zsr.jobs.run import JobRun, run
from zsr.training.distributed import training_processes
from zsr.training.files import training_files
from zsr.training.fine_tune import fine_tune, trained_tensors
from zsr.training.setting import follow, setting_of

READ = {"backbone": "weights", "head": "head", "teacher": "weights"}  # role -> the file whose digest the record names


def work(job: JobRun) -> None:
    spec = job.spec
    torch.set_num_threads(spec["threads"])
    with training_processes(spec["recipe"]["processes"], spec["device"], follow, job) as processes:
        setting = setting_of(job, processes)
        with training_files(job) as (checkpoint, log):
            cost = fine_tune(*setting, device=spec["device"], checkpoint=checkpoint, log=log)
            save_file(trained_tensors(setting.task.visual, setting.task.original), job.outputs["weights"])
    job.facts |= {role: job.digest(role, file) for role, file in READ.items() if role in spec["needs"]}
    job.facts["cost"] = {**cost, "peak_megabytes": peak_megabytes(spec["device"])}


if __name__ == "__main__":
    run(work)
