"""A fitted student's weights become those that int8 has: fp32 and int8 then say the same.

Between the two only the rounding of activations is left, by which few messages are told apart;
else a student may miss what int8 has to agree in, and serve in fp32, slower than its champion.
It is done before the student is evaluated, so the gate sees what ships; how the fit went, and what
stopped it, is told of the weights before.
"""

import torch
from transformers import PreTrainedModel

from worker.engines import EngineError, families, rounding


def settle(model: PreTrainedModel) -> None:
    """Round what int8 will round; an architecture that has no int8 is left as it is."""
    try:
        products = families.products(model.config.to_dict())
    except EngineError:
        return
    with torch.no_grad():
        for name in products:
            weight = model.get_parameter(name)  # (outputs, inputs)
            settled = rounding.settled(weight.numpy(force=True).T).T
            weight.copy_(torch.from_numpy(settled))
