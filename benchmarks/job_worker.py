"""Does a whole job in one library or another: ``python job_worker.py NAME KIND FOLDER SECONDS``.

It reads batches of 128 rows from the files of a folder, an epoch or so many of equal shares,
and prints how many there were, how long it took, and how many rows came from each class.
"""

import itertools
import json
import random
import resource
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

BATCH = 128
N_BATCHES = 20_000
N_CLASSES = 20
N_OPEN = 64
N_OF_CLASS = 8  # files of a class that are read at a time
RATE = 64  # rows of a file, before another one is read
N_WORKERS = 2


def files_of(folder):
    """Return the paths of each class."""
    return [sorted(Path(folder).glob(f"{label:02}-*.npz")) for label in range(N_CLASSES)]


def loaded(path):
    with np.load(path) as file:
        return file["X"], file["Y"]


def rows(path):
    """Yield the rows of a file."""
    for x, y in zip(*loaded(path)):
        yield {"X": x, "Y": y}


# pescador.


def pescador_epoch(folder):
    import pescador

    files = [path for paths in files_of(folder) for path in paths]
    streamers = [pescador.Streamer(rows, path) for path in files]
    mux = pescador.StochasticMux(streamers, N_OPEN, None, mode="exhaustive", random_state=0)
    return pescador.Streamer(pescador.buffer_stream, mux, BATCH, partial=True)


def pescador_endless(folder):
    import pescador

    classes = [
        pescador.StochasticMux([pescador.Streamer(rows, p) for p in paths], N_OF_CLASS, RATE)
        for paths in files_of(folder)
    ]
    mux = pescador.ShuffledMux(classes, random_state=0)
    return pescador.Streamer(pescador.buffer_stream, mux, BATCH)


def pescador_here(kind, folder):
    return iter(pescador_epoch(folder) if kind == "epoch" else pescador_endless(folder))


def pescador_process(kind, folder):
    import pescador

    batches = pescador_epoch(folder) if kind == "epoch" else pescador_endless(folder)
    return iter(pescador.ZMQStreamer(batches))


# PyTorch.


def torch_by_index(kind, folder):
    """Give a row by its number, from one of the files that were read last."""
    from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

    paths = [path for of_class in files_of(folder) for path in of_class]
    sizes = [len(loaded(path)[1]) for path in paths]
    places = [(number, row) for number, size in enumerate(sizes) for row in range(size)]
    read = lru_cache(N_OPEN)(lambda number: loaded(paths[number]))

    class Rows(Dataset):
        def __len__(self):
            return len(places)

        def __getitem__(self, index):
            number, row = places[index]
            x, y = read(number)
            return {"X": x[row], "Y": y[row]}

    how = {"batch_size": BATCH, "num_workers": N_WORKERS}
    if kind == "epoch":
        return iter(DataLoader(Rows(), shuffle=True, **how))
    labels = np.array([int(paths[number].name[:2]) for number, _ in places])
    weights = 1 / np.bincount(labels)[labels]
    return iter(
        DataLoader(Rows(), sampler=WeightedRandomSampler(weights, N_BATCHES * BATCH), **how)
    )


def endless(paths, rng):
    """Yield rows of random files without end, of a few at a time."""
    of_files = [iter(())] * N_OF_CLASS
    while True:
        slot = rng.randrange(N_OF_CLASS)
        try:
            yield next(of_files[slot])
        except StopIteration:
            of_files[slot] = itertools.islice(rows(rng.choice(paths)), RATE)


def mixed(paths, rng):
    """Yield all rows of some files, from a number of them at a time."""
    paths = iter(rng.sample(paths, len(paths)))
    of_files = [rows(path) for path in itertools.islice(paths, N_OPEN)]
    while of_files:
        slot = rng.randrange(len(of_files))
        try:
            yield next(of_files[slot])
        except StopIteration:
            path = next(paths, None)
            if path is None:
                del of_files[slot]
            else:
                of_files[slot] = rows(path)


def torch_by_hand(kind, folder):
    """Let each worker mix its own part of the files, as one would write it by hand."""
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Mixed(IterableDataset):
        def __iter__(self):
            number, rng = get_worker_info().id, random.Random(get_worker_info().seed)
            classes = [paths[number::N_WORKERS] for paths in files_of(folder)]
            if kind == "epoch":
                yield from mixed([path for paths in classes for path in paths], rng)
                return
            streams = [endless(paths, rng) for paths in classes]
            while True:
                yield next(streams[rng.randrange(N_CLASSES)])

    return iter(DataLoader(Mixed(), batch_size=BATCH, num_workers=N_WORKERS))


# Hugging Face.


def of_files(paths):
    for path in paths:
        yield from rows(path)


def hugging_face(kind, folder):
    from datasets import IterableDataset, interleave_datasets

    classes = [
        IterableDataset.from_generator(of_files, gen_kwargs={"paths": [str(p) for p in paths]})
        for paths in files_of(folder)
    ]
    if kind == "epoch":
        mixture = interleave_datasets(
            classes, seed=0, stopping_strategy="all_exhausted_without_replacement"
        )
    else:
        classes = [each.shuffle(seed=0, buffer_size=1000).repeat(None) for each in classes]
        mixture = interleave_datasets(classes, [1 / N_CLASSES] * N_CLASSES, seed=0)
    return iter(mixture.with_format("numpy").batch(BATCH))


PROGRAMS = {
    each.__name__: each
    for each in (pescador_here, pescador_process, torch_by_index, torch_by_hand, hugging_face)
}


def main(name, kind, folder, seconds):
    begin = time.perf_counter()
    batches = PROGRAMS[name](kind, folder)
    if kind != "epoch":
        batches = itertools.islice(batches, N_BATCHES)
    n_batches, counts, is_whole = 0, np.zeros(N_CLASSES, int), True
    for batch in batches:
        n_batches += 1
        counts += np.bincount(np.asarray(batch["Y"]), minlength=N_CLASSES)
        if time.perf_counter() - begin > float(seconds):
            is_whole = False
            break
    took = time.perf_counter() - begin
    del batches  # which ends what it has started
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        json.dumps(
            {
                "seconds": took,
                "n_batches": n_batches,
                "is_whole": is_whole,
                "counts": counts.tolist(),
                "cpu": sum(each.ru_utime + each.ru_stime for each in used),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
