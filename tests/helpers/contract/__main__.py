"""One family in a process of its own, because its processor needs packages that the environment lacks."""

import json
import sys
import warnings
from pathlib import Path

import torch

from adaptinf.models.quiet import silence_libraries
from tests.helpers.contract.checks import check_family

torch.set_num_threads(1)
warnings.simplefilter("ignore")
silence_libraries()
print(json.dumps(check_family(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
