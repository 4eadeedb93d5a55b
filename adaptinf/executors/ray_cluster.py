"""The Ray cluster that workers run on: joining it, what it has, and whether its nodes see what they have to."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import adaptinf
from adaptinf.errors import ConfigError
from adaptinf.words import counted, one_line, shortened

CONNECT_SECONDS = 5.0
"""How long an address may take to accept a connection."""
START_SECONDS = 120.0
"""How long the nodes of a cluster may take for a first small task."""
WAY_OUT = "start one with `ray start --head` and give its address, or leave ray.address out for one on this machine"


# Any: of what Ray offers only a part has types.
def ray_library() -> Any:
    """Return the library, which only this executor needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ConfigError("executor: ray needs Ray; install it: pip install 'adaptinf[ray]'") from None


def join(address: str | None) -> None:
    """Connect this process to the cluster at an address, or to a new one on this machine; once per process.

    Raises:
        ConfigError: Ray is not installed, or none answers.
    """
    ray = ray_library()
    if ray.is_initialized():
        return
    _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"ray.address={address}: no Ray cluster answers ({one_line(error)}); {WAY_OUT}") from error


def _check_answers(address: str | None) -> None:
    """Refuse an address host:port where nothing listens; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(f"ray.address={address}: nothing answers there ({error}); {WAY_OUT}") from error


class Node(NamedTuple):
    """One machine of the cluster."""

    id: str
    """As Ray names it."""
    name: str
    """Its host name."""
    gpu_types: tuple[str, ...]
    """Types of its GPUs, as Ray names them."""


def nodes() -> list[Node]:
    """Return the machines of the cluster that are alive."""
    return [
        Node(
            node["NodeID"],
            node["NodeManagerHostname"],
            tuple(key.partition(":")[2] for key in node["Resources"] if key.startswith("accelerator_type:")),
        )
        for node in ray_library().nodes()
        if node["Alive"]
    ]


def is_this_machine_only() -> bool:
    """Tell whether the cluster has no other machine than this one."""
    address = ray_library().util.get_node_ip_address()
    return all(node["NodeManagerAddress"] == address for node in ray_library().nodes() if node["Alive"])


def environment() -> dict[str, dict[str, str]]:
    """Return the environment of a process on a node: it sees the modules that this one sees."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    # Ray would set the threads of numerical libraries to the CPUs of the worker; last bits depend on them.
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return {"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": threads}}


def check_nodes(folder: Path, files: Mapping[str, int] | None = None) -> None:
    """Check that every node of the cluster has this adaptinf, and sees the same folder and files.

    Args:
        folder: a folder that this process can write to.
        files: further paths, each with its size in bytes; of a folder -1.

    Raises:
        ConfigError: a node does not, or does not answer.
    """
    ray = ray_library()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = folder / f".seen-by-ray-{uuid.uuid4().hex}"
    mark.touch()
    try:
        asked = {}
        for node in nodes():
            strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
            options = {"num_cpus": 0, "scheduling_strategy": strategy, "max_retries": 0, "runtime_env": environment()}
            look = ray.remote(**options)(_unseen)
            asked[look.remote([(str(mark.resolve()), 0), *(files or {}).items()], adaptinf.__version__)] = node.name
        ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=START_SECONDS)
        for one in ready:
            _check_seen(one, asked[one], mark)
        if silent:
            raise ConfigError(f"{asked[silent[0]]}, a node of the Ray cluster, does not answer; take it out")
    finally:
        mark.unlink(missing_ok=True)


def _check_seen(pending: Any, name: str, mark: Path) -> None:
    """Raise what a node's answer says is wrong with it."""
    ray = ray_library()
    try:
        unseen = ray.get(pending)
    except ray.exceptions.RayError as error:  # adaptinf cannot be imported there, or the node is lost
        raise ConfigError(
            f"{name}, a node of the Ray cluster, cannot run adaptinf ({shortened(one_line(error), 80)}); "
            "install it there in the same version"
        ) from error
    if unseen is not None:
        path = mark.parent if Path(unseen) == mark.resolve() else unseen
        raise ConfigError(
            f"{path} must lie on a file system that every node of the Ray cluster sees under this path, "
            f"but {name} does not see it, or sees another one"
        )


def _unseen(paths: Sequence[tuple[str, int]], version: str) -> str | None:
    """Return, on a node, the first path that is not there or has another size; None: there is none such."""
    if adaptinf.__version__ != version:
        raise ImportError(f"adaptinf {adaptinf.__version__} there, {version} here")
    for path, size in paths:
        is_there = os.path.isdir(path) if size < 0 else os.path.isfile(path) and os.path.getsize(path) == size
        if not is_there:
            return path
    return None


def check_resources(number: int, each: Mapping[str, float]) -> None:
    """Check that the cluster has enough for a number of workers, each with so many of each resource.

    Raises:
        ConfigError: it has less.
    """
    there = ray_library().cluster_resources()
    for resource, needed in each.items():
        if number * needed > there.get(resource, 0):
            raise ConfigError(
                f"workers: {counted(number, 'worker')} with {needed:g} {resource} each need {number * needed:g}, but "
                f"the Ray cluster has {there.get(resource, 0):g}; set fewer workers, or less under ray"
            )
