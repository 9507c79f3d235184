"""Names for annotations, without what they cost to import.

torch takes three seconds to import, and the workflow asks the menus many questions that need no tensor. So a file that
needs torch only inside its functions imports it there, and takes the names of its annotations from here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor as Tensor
    from torch.nn import Module as Network

    from esgrad.gradients.fitness import ClassFitness as ClassFitness
    from esgrad.tasks.data import Data as Data
    from esgrad.tasks.stack import Stack as Stack
else:
    Tensor = Network = ClassFitness = Data = Stack = Any
