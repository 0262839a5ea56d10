"""A run is frozen when it starts: assigning to an attribute of a mux alters none."""

import json

import pytest
from _trees import numbered, plain, read

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer


def sources(n=6, first=0):
    return [Streamer(numbered, first + who, 4 + who) for who in range(n)]


WEIGHTS = [1, 2, 3, 1, 2, 3]
STOCHASTIC = {
    "streamers": sources(6, 50),
    "n_active": 5,
    "rate": 100,
    "mode": "exhaustive",
    "prune_empty_streams": False,
    "dist": "constant",
    "weighting": "active",
    "on_error": "replace",
    "max_failures": 9,
    "random_state": 99,
}
COMMON = ("streamers", "on_error", "max_failures", "random_state")
ORDERED = {name: STOCHASTIC[name] for name in COMMON}
MUXES = {
    **{
        f"stochastic, {mode}, {dist}": (
            lambda mode=mode, dist=dist: StochasticMux(
                sources(), 3, 3, WEIGHTS, mode, random_state=0, dist=dist
            ),
            STOCHASTIC,
        )
        for mode in ("with_replacement", "single_active", "exhaustive")
        for dist in ("poisson", "constant", "binomial")
    },
    "stochastic, share": (
        lambda: StochasticMux(sources(), 3, 3, WEIGHTS, random_state=0, weighting="share"),
        STOCHASTIC,
    ),
    "stochastic, share, single_active": (
        lambda: StochasticMux(
            sources(), 3, 3, WEIGHTS, "single_active", random_state=0, weighting="share"
        ),
        STOCHASTIC,
    ),
    "shuffled": (lambda: ShuffledMux(sources(), WEIGHTS, 0), ORDERED),
    **{
        f"round robin, {mode}": (
            lambda mode=mode: RoundRobinMux(sources(), mode, 0),
            ORDERED | {"mode": "cycle" if mode == "exhaustive" else "exhaustive"},
        )
        for mode in ("exhaustive", "cycle", "permuted_cycle", "shortest")
    },
    "chain": (lambda: ChainMux(sources(), "exhaustive", 0), ORDERED | {"mode": "cycle"}),
    "chain, cycle": (lambda: ChainMux(sources(), "cycle", 0), ORDERED | {"mode": "exhaustive"}),
}
CASES = [(name, attribute) for name, (_, values) in MUXES.items() for attribute in values]


@pytest.mark.parametrize("name, attribute", CASES)
def test_an_assignment_in_mid_run_alters_neither_the_run_nor_its_state(name, attribute):
    make, values = MUXES[name]

    def run(assign):
        mux = make()
        stream = mux.iterate()
        start = [plain(item) for _, item in zip(range(7), stream)]
        if assign:
            setattr(mux, attribute, values[attribute])
        more = [plain(item) for _, item in zip(range(3), stream)]
        state = json.loads(json.dumps(stream.state_dict()))
        return start, more, state, read(stream)

    frozen = run(True)
    assert frozen == run(False)
    assert read(make().resume(frozen[2])) == frozen[3]


@pytest.mark.parametrize("name, attribute", CASES)
def test_the_next_run_sees_the_assignment(name, attribute):
    """It gives what a mux that was made so gives, if such a one can be made."""
    make, values = MUXES[name]
    mux = make()
    list(mux.iterate(5))
    setattr(mux, attribute, values[attribute])
    try:
        items = read(mux.iterate())
    except pescador.PescadorError:  # "share" is not possible in the mode "exhaustive"
        items = "refused"
    if name.startswith("stochastic") and attribute not in ("streamers", "random_state"):
        options = {key: getattr(mux, key) for key in STOCHASTIC if key != "random_state"}
        try:
            wanted = read(StochasticMux(weights=WEIGHTS, random_state=0, **options).iterate())
        except pescador.PescadorError:
            wanted = "refused"
        assert str(items) == str(wanted) or (wanted == "refused" and "share" in str(items))


def test_the_weights_of_a_mux_cannot_be_assigned():
    mux = ShuffledMux(sources(), WEIGHTS)
    with pytest.raises(AttributeError):
        mux.weights = [1, 1]


def test_a_state_of_another_rate_is_refused():
    """It once was not: the rate was read when the state was taken."""
    mux = StochasticMux(sources(), 2, 4, random_state=0)
    stream = mux.iterate()
    next(stream)
    mux.rate = 100
    state = stream.state_dict()
    stream.close()
    with pytest.raises(pescador.PescadorError, match=r"had rate=4\.0 .* and has rate=100 now"):
        mux.resume(state)
