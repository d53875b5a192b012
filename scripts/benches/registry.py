"""Every bench: what is compared, by which contestants, at which core counts; and every series of growth.

A contestant is one file of this folder:
- It says what it needs in a script header (PEP 723). The harness makes `.bench/<environment>` from it, so that peers
  with clashing needs live apart. Without such a header it runs in the interpreter that runs scripts/bench.py.

      # /// script
      # dependencies = ["torch==2.13.0"]
      # ///

- It is started as `python FILE ARGUMENTS... --cores N` and ends with `serve(measure)` or `serve_rate(...)` (serve.py), where
  `measure() -> {"rate": float, "unit": str, ...}` runs one repetition, 2 to 10 seconds long. The first call is the
  warm-up, whose rate is thrown away. Keys other than `rate`, `busy` and `share` are kept as notes (versions, settings).
  `share`, where given, is the share of the machine's peak FLOP rate, round by round.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Contestant(NamedTuple):
    """One process of a bench.

    file         name in this folder
    arguments    command line of that file, before `--cores N`
    environment  variables set for the process, where they must stand before a library is imported
    cores        core counts at which it takes part
    venv         folder under .bench/ for its requirements; by default the part of `file` after the last underscore
    """

    file: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    cores: tuple[int, ...] = (1, 2)
    venv: str = ""


class Growth(NamedTuple):
    """What a series turns up, and what its cost is.

    axis      what grows, with its unit
    values    its settings
    lines     what is measured at each of them
    cost      what is paid for in seconds: one of the rate's unit, or with `together` as many as the setting says
    """

    axis: str
    values: tuple[int, ...]
    lines: tuple[str, ...]
    cost: str
    together: bool


class Bench(NamedTuple):
    """compared: one line; contestants: ours first, all others are compared with it; growth: for a series of settings"""

    compared: str
    contestants: dict[str, Contestant]
    growth: Growth | None = None

    @property
    def cores(self) -> list[int]:
        return sorted({count for each in self.contestants.values() for count in each.cores})

    def at(self, cores: int) -> dict[str, Contestant]:
        return {name: each for name, each in self.contestants.items() if cores in each.cores}


def series(
    compared: str,
    axis: str,
    cost: str,
    values: tuple[int, ...],
    lines: dict[str, Callable[[int], Contestant]],
    together: bool = False,
) -> Bench:
    """A bench whose contestants are `lines` at `values`."""
    contestants = {point(line, value): make(value) for line, make in lines.items() for value in values}
    return Bench(compared, contestants, Growth(axis, values, tuple(lines), cost, together))


def point(line: str, value: int) -> str:
    return f"{line}: {value:,}"


def recipe(
    name: str, *words: str, cores: tuple[int, ...] = (1,), devices: int = 0, **fields: dict[str, Any]
) -> Contestant:
    """recipe_ours.py with `fields` setup, hyper and budget; on `devices` simulated ones where they are given."""
    given = [word for field, values in fields.items() for word in (f"--{field}", json.dumps(values))]
    arguments = ("--recipe", name, *given, *words)
    return simulated(devices, Contestant("recipe_ours.py", arguments, cores=cores))


def simulated(devices: int, contestant: Contestant) -> Contestant:
    if not devices:
        return contestant
    return contestant._replace(
        arguments=(*contestant.arguments, "--devices", str(devices)),
        environment={"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
    )


def rejax(method: str, settings: dict[str, Any], *words: str, **how: Any) -> Contestant:
    given = ("--method", method, "--settings", json.dumps(settings), *words)
    return Contestant("rl_rejax.py", given, **{"cores": (1,), **how})


def one_chunk(ticks: int, steps_per_tick: int = 1) -> dict[str, int]:
    return {"steps": ticks * steps_per_tick, "chunk": ticks, "record_every": ticks, "evaluate_every": ticks}


ONE_THREAD = {"NPROC": "1"}
RL = ("--packages", "gymnax,jax")

# PureJaxRL's PPO: 4 epochs and, on CartPole, 4 minibatches of 4 environments, 64-64 tanh; on Breakout 8 of 64, 64-64 ReLU.
PPO = {"rollout_length": 128}
REJAX_PPO = {
    "num_steps": 128,
    "num_epochs": 4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_eps": 0.2,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
}
REJAX_PPO_CARTPOLE = REJAX_PPO | {
    "agent_kwargs": {"activation": "tanh", "hidden_layer_sizes": [64, 64]},
    "num_envs": 4,
    "num_minibatches": 4,
    "learning_rate": 2.5e-4,
}
REJAX_PPO_BREAKOUT = REJAX_PPO | {
    "agent_kwargs": {"activation": "relu", "hidden_layer_sizes": [64, 64]},
    "num_envs": 64,
    "num_minibatches": 8,
    "learning_rate": 5e-3,
}

# DQN and PQN as in rejax's configs/gymnax/cartpole.yaml.
DQN = {
    "setup": {"environments": 10, "rollout_length": 1, "updates": 5, "batch_size": 100, "learning_starts": 5000}
    | {"target_every": 1, "double": True, "dueling": True, "widths": [64, 64], "activation": "swish"}
    | {"anneal_learning_rate": False, "capacity": 50_000},
    "hyper": {"learning_rate": 1e-3, "target_mixing": 0.02},
    "budget": {"steps": 20_000, "chunk": 100, "record_every": 100, "evaluate_every": 2000},
}
PQN = {
    "setup": {"environments": 16, "rollout_length": 128, "epochs": 5, "minibatches": 16, "widths": [64, 64]}
    | {"anneal_learning_rate": False},
    "hyper": {"learning_rate": 3e-4, "q_lambda": 0.9},
    "budget": {"steps": 131_072, "chunk": 16, "record_every": 16, "evaluate_every": 64},
}
REJAX_Q = {"max_grad_norm": 10, "eps_start": 1, "eps_end": 0.05, "exploration_fraction": 0.5, "gamma": 0.99}
REJAX_DQN = REJAX_Q | {
    "agent": "DuelingQNetwork",
    "agent_kwargs": {"activation": "swish"},
    "num_envs": 10,
    "fill_buffer": 5_000,
    "buffer_size": 50_000,
    "batch_size": 100,
    "learning_rate": 0.001,
    "num_epochs": 5,
    "polyak": 0.98,
    "ddqn": True,
}
REJAX_PQN = REJAX_Q | {
    "num_envs": 16,
    "num_steps": 128,
    "num_minibatches": 16,
    "learning_rate": 0.0003,
    "num_epochs": 5,
    "td_lambda": 0.9,
}


def dqn(*words: str, **setup: Any) -> Contestant:
    return recipe("dqn", *words, *RL, **{**DQN, "setup": {**DQN["setup"], **setup}})


BREAKOUT = ("--environment", "Breakout-MinAtar")
SHORT = ("--steps", "10000")
NET = ("--blocks", "2", "--features", "32")
SMALL = (*NET, "--games", "64", "--moves", "8")

BENCHES: dict[str, Bench] = {
    "classify": Bench(
        "a small CNN's updates on 28x28 images beside PyTorch's; on 2 cores a run on each, and one on both",
        {
            "ours": Contestant("classify_ours.py", environment=ONE_THREAD),
            "ours, one run on all cores": Contestant("classify_ours.py", ("--rows", "1"), cores=(2,)),
            "torch eager": Contestant("classify_torch.py", ("--mode", "eager")),
            "torch eager, channels last": Contestant("classify_torch.py", ("--layout", "channels_last")),
            "torch.compile": Contestant("classify_torch.py", ("--mode", "compile")),
        },
    ),
    "lm": Bench(
        "a Transformer's updates in nanoGPT's CPU setting beside PyTorch's; on 2 cores a run on each, and one on both",
        {
            "ours": Contestant("lm_ours.py", environment=ONE_THREAD),
            "ours, one run on all cores": Contestant("lm_ours.py", ("--rows", "1"), cores=(2,)),
            "torch eager": Contestant("lm_torch.py", ("--mode", "eager")),
            "torch eager, fused AdamW": Contestant("lm_torch.py", ("--mode", "eager", "--fused")),
            "torch.compile": Contestant("lm_torch.py", ("--mode", "compile")),
        },
    ),
    "lm-stream": Bench(
        "the same updates of a text streamed from a file of 2 GB, and of one in memory",
        {by: Contestant("lm_stream.py", ("--by", by), cores=(1,)) for by in ("streamed", "resident")},
    ),
    "lm-generate": Bench(
        "256 characters one by one, with a cache of keys and values or by reading the prefix again",
        {
            "with a cache": Contestant("lm_generate.py", ("--by", "cache"), cores=(1,)),
            "reading the prefix again": Contestant("lm_generate.py", ("--by", "prefix"), cores=(1,)),
        },
    ),
    "gan": Bench(
        "a dense GAN's updates on 28x28 images beside PyTorch's, alone and as four seeds at once",
        {
            "ours": Contestant("gan_ours.py", environment=ONE_THREAD),
            "ours, four seeds": Contestant("gan_ours.py", ("--rows", "4"), environment=ONE_THREAD),
            "torch eager": Contestant("gan_torch.py", ("--mode", "eager")),
            "torch eager, fused Adam": Contestant("gan_torch.py", ("--mode", "eager", "--fused")),
            "torch.compile": Contestant("gan_torch.py", ("--mode", "compile")),
        },
    ),
    "engine": Bench(
        "PPO on CartPole in the engine's chunks with its record, and in a plain scan",
        {
            "ours": Contestant("engine_overhead.py", ("--by", "engine"), cores=(1,)),
            "by hand": Contestant("engine_overhead.py", ("--by", "hand"), cores=(1,)),
        },
    ),
    "ppo": Bench(
        "PPO on CartPole beside rejax's, one seed",
        {
            "ours": recipe("ppo-cartpole", *RL, "--steps", "512000", setup=PPO),
            "rejax": rejax("ppo", REJAX_PPO_CARTPOLE, "--steps", "512000"),
        },
    ),
    "ppo-breakout": Bench(
        "PPO on Breakout-MinAtar beside rejax's, one seed",
        {
            "ours": recipe("ppo-breakout", *RL, "--steps", "131072", setup=PPO),
            "rejax": rejax("ppo", REJAX_PPO_BREAKOUT, *BREAKOUT, "--steps", "131072"),
        },
    ),
    "ppo-16": Bench(
        "16 seeds of PPO on CartPole at once beside rejax's, vmapped",
        {
            "ours": recipe("ppo-cartpole", *RL, "--rows", "16", "--steps", "51200", setup=PPO, cores=(1, 2)),
            "rejax": rejax("ppo", REJAX_PPO_CARTPOLE, "--rows", "16", "--steps", "51200", cores=(1, 2)),
            "rejax, one thread": rejax(
                "ppo", REJAX_PPO_CARTPOLE, "--rows", "16", "--steps", "51200", environment=ONE_THREAD, cores=(2,)
            ),
        },
    ),
    "dqn": Bench(
        "DQN on CartPole beside rejax's, and with smaller and larger replays",
        {
            "ours": dqn("--repeats", "5"),
            "ours, 5,000 slots": dqn("--repeats", "5", capacity=5000),
            "ours, 200,000 slots": dqn("--repeats", "5", capacity=200_000),
            "rejax": rejax("dqn", REJAX_DQN, "--steps", "20000"),
        },
    ),
    "dqn-breakout": Bench(
        "DQN on Breakout-MinAtar beside rejax's, half of its steps without updates",
        {
            "ours": dqn("--repeats", "5", *SHORT, environment=BREAKOUT[1]),
            "rejax": rejax("dqn", REJAX_DQN, *BREAKOUT, *SHORT),
        },
    ),
    "pqn": Bench(
        "PQN on CartPole beside rejax's",
        {
            "ours": recipe("pqn", "--repeats", "5", *RL, **PQN),
            "rejax": rejax("pqn", REJAX_PQN, "--steps", "131072"),
        },
    ),
    "selfplay": Bench(
        "self-play of 9x9 Go with a search beside pgx's example, 6 blocks of 128 features",
        {
            "ours": Contestant("selfplay_ours.py", (), ONE_THREAD, (1,)),
            "pgx's example": Contestant("selfplay_pgx.py", (), ONE_THREAD, (1,)),
        },
    ),
    "selfplay-small": Bench(
        "the same with 2 blocks of 32 features and 64 games",
        {
            "ours": Contestant("selfplay_ours.py", SMALL, ONE_THREAD, (1,)),
            "pgx's example": Contestant("selfplay_pgx.py", SMALL, ONE_THREAD, (1,)),
        },
    ),
    "sweep": Bench(
        "120 runs of PPO on CartPole as one sweep, as calls in one process, as processes of their own",
        {
            "one sweep": Contestant("sweep.py", ("--by", "sweep"), cores=(2,)),
            "calls in one process": Contestant("sweep.py", ("--by", "calls"), cores=(2,)),
            "a process each, two at a time": Contestant("sweep.py", ("--by", "processes"), cores=(2,)),
        },
    ),
    "start": Bench(
        "from the command to the first recorded chunk, what was compiled before kept or not",
        {
            "filled cache": Contestant("start.py", ("--cache", "filled")),
            "empty cache": Contestant("start.py", ("--cache", "empty")),
        },
    ),
    "growth-rows": series(
        "more rows of one program on one core: PPO on CartPole (512 environment steps a tick), a GAN on a ring",
        "rows",
        "one step of every row",
        (1, 4, 16, 64, 256),
        {
            "PPO, an environment step": lambda rows: recipe(
                "ppo-cartpole", "--rows", str(rows), setup=PPO, budget=one_chunk(max(4, 400 // rows), 512)
            ),
            "GAN on a ring, an update": lambda rows: recipe(
                "gan-ring", "--rows", str(rows), budget=one_chunk(max(4, 1000 // rows))
            ),
        },
        together=True,
    ),
    "growth-context": series(
        "a longer context of nanoGPT's CPU setting: an update of 12 crops of that length, and a text of it generated one "
        "character at a time with a cache of keys and values",
        "context (tokens)",
        "a token",
        (32, 64, 128, 256, 512, 1024),
        {
            "in an update": lambda context: Contestant(
                "lm_ours.py", ("--context", str(context), "--steps", str(1024 // context)), ONE_THREAD, (1,)
            ),
            "generated": lambda length: Contestant("lm_generate.py", ("--length", str(length)), cores=(1,)),
        },
    ),
    "growth-replay": series(
        "a larger replay of DQN on Breakout-MinAtar, of which 10,000 steps are taken: by the chunks alone, and as a whole run "
        "with its record, its evaluation and a checkpoint, replay included",
        "capacity of the replay (transitions)",
        "an environment step",
        (1_000, 10_000, 100_000, 1_000_000),
        {
            line: lambda capacity, words=words: dqn(
                *words, *SHORT, environment=BREAKOUT[1], capacity=capacity, learning_starts=1000
            )
            for line, words in {"chunks alone": (), "a whole run": ("--whole",)}.items()
        },
    ),
    "growth-games": series(
        "more games of self-play side by side: 9x9 Go, 32 simulations a move, 2 blocks of 32 features",
        "games",
        "one move in every game",
        (1, 4, 16, 64, 256),
        {
            "a move": lambda games: Contestant(
                "selfplay_ours.py",
                (*NET, "--games", str(games), "--moves", str(max(2, 256 // games))),
                ONE_THREAD,
                (1,),
            )
        },
        together=True,
    ),
    "growth-devices": series(
        "the same work on more simulated devices, which are threads of one process: 8 rows of PPO spread over them, and each "
        "batch of one CNN's run; on 2 cores this shows what spreading costs, no speed-up",
        "simulated devices",
        "a step of the same work",
        (1, 2, 4, 8),
        {
            "rows over devices, an environment step": lambda devices: recipe(
                "ppo-cartpole", "--rows", "8", setup=PPO, budget=one_chunk(100, 512), devices=devices, cores=(2,)
            ),
            "a batch over devices, an image": lambda devices: simulated(
                devices, Contestant("classify_ours.py", ("--rows", "1", "--steps", "10"), cores=(2,))
            ),
        },
    ),
}
