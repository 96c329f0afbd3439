"""Several processes and threads change sweep.json at the same time."""

import threading

from normexp.rundir import process
from normexp.sweeps.manifest import Session, edit_manifest, read_manifest, write_manifest
from normexp.sweeps.slurm import JOBS_KEY

WRITERS = range(8)


def test_writers_at_the_same_time_lose_no_entry(tmp_path):
    session = Session(["normexp", "train"], str(tmp_path), None, process.identity(), True)
    start = threading.Barrier(len(WRITERS))
    errors = []

    def write(writer):
        start.wait()
        try:
            for number in range(5):
                name = f"{writer}-{number}"
                write_manifest(tmp_path, arguments=["-m", name], session=session)
                with edit_manifest(tmp_path) as manifest:
                    manifest["runs"] = [*manifest.get("runs", []), name]
                    manifest[JOBS_KEY] = {**manifest.get(JOBS_KEY, {}), name: name}
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in WRITERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = sorted(f"{writer}-{number}" for writer in WRITERS for number in range(5))
    manifest = read_manifest(tmp_path)
    assert errors == []
    assert sorted(word for _, word in manifest["arguments"]) == names
    assert sorted(manifest["runs"]) == names
    assert sorted(manifest[JOBS_KEY]) == names
