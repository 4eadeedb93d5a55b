"""The exception tree.

AdaptError                       anything the user can fix; the command line prints it as one message, exit code 2
├── ConfigError(ValueError)      stream.yaml, an option or an argument is wrong
├── DataError(ValueError)        a dataset, image or array is wrong
├── ModelError(ValueError)       a model, processor or chat template cannot do what the method needs
├── StoreError                   a run folder is damaged, in use, or belongs to something else
├── Terminated                   the system asked this process to end; what was done is saved, exit code 143
└── GateStopped                  a skill lost too much, and `evaluation_gate` stopped the run; exit code 3

Every other exception is a bug of this package: it keeps its traceback, exit code 1.
"""


class AdaptError(Exception):
    """Something the user can fix: the message names the value, the place and what to do."""


class ConfigError(AdaptError, ValueError):
    """A wrong setting in stream.yaml, on the command line or in a call."""


class DataError(AdaptError, ValueError):
    """A dataset, image or array that cannot be used as it is."""


class ModelError(AdaptError, ValueError):
    """A model, processor or chat template that cannot do what the method needs."""


class StoreError(AdaptError):
    """A run folder that is damaged, in use by another process, or made by something else."""


class Terminated(AdaptError):
    """The system has asked this process to end (SIGTERM), and it ends once its work is saved."""


class GateStopped(AdaptError):
    """A run that `evaluation_gate` has stopped after a step, until its user accepts the step or takes it back."""
