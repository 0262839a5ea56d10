"""Programs that read by PyTorch, each a process of its own: ``python _torch_programs.py NAME``."""

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np

from pescador import StochasticMux, Streamer, buffer_stream

N_FILES, N_ROWS, BATCH = 12, 10, 4


def rows(number):
    """Yield the rows of a file, each of which is known by a number."""
    for row in np.random.default_rng(number).permutation(N_ROWS):
        yield {"x": np.full(2, float(row)), "row": N_ROWS * number + row}


def batches():
    """Return a streamer of batches of all rows, each once."""
    files = [Streamer(rows, number) for number in range(N_FILES)]
    epoch = StochasticMux(files, 2, None, mode="exhaustive", random_state=0)
    return Streamer(buffer_stream, epoch, BATCH, partial=True)


def read(loader):
    """Return the rows of each batch."""
    return [batch["row"].tolist() for batch in loader]


def one_rank(rank, n_ranks, folder, method):
    """Print the rows that a rank reads in two epochs."""
    import torch.distributed as dist
    from torch.utils.data import DataLoader

    from pescador.adapters.torch import StreamDataset

    place = f"file://{folder}/store"
    dataset = StreamDataset(batches())  # (made before the group)
    dist.init_process_group("gloo", init_method=place, rank=int(rank), world_size=int(n_ranks))
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=method)
    print(json.dumps([read(loader) for _ in range(2)]))
    dist.barrier()
    dist.destroy_process_group()


def pinned(n_workers, method):
    """Print the rows of two epochs that went to a GPU through pinned memory."""
    from torch.utils.data import DataLoader

    from pescador.adapters.torch import StreamDataset

    n_workers = int(n_workers)
    method = method if n_workers else None
    options = {"num_workers": n_workers, "multiprocessing_context": method, "pin_memory": True}
    loader = DataLoader(StreamDataset(batches()), batch_size=None, **options)
    epochs = []
    for _ in range(2):
        there = []
        for batch in loader:
            assert batch["row"].is_pinned()
            there.append(batch["row"].to("cuda", non_blocking=True))
        epochs.append([rows.tolist() for rows in there])
    print(json.dumps(epochs))


def crashing(folder, n_workers):
    """Print the rows of each step of two epochs, from where it stood; die at once in mid-epoch."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    from pescador.adapters.torch import StreamDataset

    saved = Path(folder, "state.pickle")
    loader = StatefulDataLoader(
        StreamDataset(batches()), batch_size=None, num_workers=int(n_workers)
    )
    epoch, is_resumed = 0, saved.exists()
    if is_resumed:
        epoch, state = pickle.loads(saved.read_bytes())
        loader.load_state_dict(state)
    for number in range(epoch, 2):
        for step, batch in enumerate(loader):
            print(json.dumps(batch["row"].tolist()), flush=True)
            saved.write_bytes(pickle.dumps((number, loader.state_dict())))
            if not is_resumed and number == 1 and step == 5:
                os._exit(9)


if __name__ == "__main__":
    programs = {each.__name__: each for each in (one_rank, pinned, crashing)}
    programs[sys.argv[1]](*sys.argv[2:])
