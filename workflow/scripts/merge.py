"""Merge the shards of a cell into the rows and the summary that one evaluation would have made."""

from zsr.evaluation.shards import merged_examples, merged_facts, merged_rows
from zsr.jobs.run import JobRun, run
from zsr.storage.examples import read_table, write_table
from zsr.storage.input_hashes import hash_of
from zsr.storage.records import check_digest, read_record
from zsr.storage.rows import read_rows, write_rows


def work(job: JobRun) -> None:
    count = job.spec["shards"]
    first = job.input("first")  # <folder>/0-of-<count>.json, the others beside it
    records, tables, examples = [], [], []
    for i in range(count):
        path = first.with_name(f"{i}-of-{count}.json")
        records.append(read_record(path, job.spec["needs"][f"shard-{i}"]))
        tables.append(read_rows(path.with_suffix(".parquet"), records[-1]["digests"]["rows"]))
        examples.append(read_table(check_digest(path.with_suffix(".examples"), records[-1]["digests"]["examples"])))
    job.read = {f"shard-{i}": hash_of([record]) for i, record in enumerate(records)}
    columns = merged_rows(tables)
    write_rows(job.outputs["rows"], columns)
    examples = merged_examples(examples, job.spec["store"], job.spec["seed"])
    write_table(job.outputs["examples"], examples)
    job.facts |= merged_facts(records, columns) | {"examples": len(examples)}


if __name__ == "__main__":
    run(work)
