"""What generates the answers to tests: transformers in this program, or vLLM where it is installed."""

from __future__ import annotations

from adaptinf.config import RunConfig
from adaptinf.words import one_line, shortened

HF, VLLM = "hf", "vllm"
"""The values of `evaluation_engine`."""
OTHER_ENGINE = f"set evaluation_engine: {HF}"


def engine_problem(config: RunConfig) -> str | None:
    """Return why the engine of a configuration cannot be used on this machine; None: it can."""
    if config.evaluation_engine != VLLM or all(skill.command is not None for skill in config.evaluation):
        return None
    place = f"evaluation_engine={VLLM}"
    if config.model.device not in ("auto", "cuda", "cuda:0"):
        return (
            f"{place} uses the first GPU that it sees, but model.device={config.model.device}; leave model.device out "
            f"and name the GPU in CUDA_VISIBLE_DEVICES, or {OTHER_ENGINE}"
        )
    try:
        import vllm  # noqa: F401  # hours before it is needed
    except ModuleNotFoundError as error:
        if error.name == VLLM:
            return f"{place} needs vLLM, which is not installed: pip install 'adaptinf[vllm]', or {OTHER_ENGINE}"
        return f"{place}: vLLM cannot be imported ({one_line(error)}): pip install 'adaptinf[vllm]', or {OTHER_ENGINE}"
    except Exception as error:  # libraries of a GPU that is not there, of another torch, and the like
        cause = shortened(one_line(error))
        return f"{place}: vLLM cannot be imported ({cause}); install the one for this torch, or {OTHER_ENGINE}"
    return None
