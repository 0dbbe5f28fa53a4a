"""The half of a task that evaluates: predictions, and metrics of each split."""

from pytorch_lightning import LightningModule
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import PLACE
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.training.fitting import data_of
from molflt.training.metrics import Evaluation
from molflt.training.objective import Objective
from molflt.training.origin import RunOrigin
from molflt.training.unknown_species import UnknownSpecies


class EvaluatedTask(LightningModule):
    """Validation, test and prediction of an `FLTModel`; see `FLTTask`.

    Attributes:
        model: The model, as soon as there is one.
        objective: Loss and errors of a batch.
    """

    objective: Objective

    def __init__(self) -> None:
        super().__init__()
        self.model: FLTModel | None = None
        self._evaluation = Evaluation()
        self._unknown = UnknownSpecies()
        self._origin: RunOrigin | None = None  # of a training run

    def forward(self, data: Data) -> dict[str, Tensor]:
        """Return each target of each graph (g,) in its unit, float64.

        Args:
            data: Graph or batch of graphs.

        Raises:
            UsageError: There is no model yet.
        """
        if self.model is None:
            raise UsageError(
                "A task has no model before trainer.fit(task, data), which builds it "
                "from the data's targets; molflt.load(path) reads a trained one."
            )
        return dict(self.model(data))

    def validation_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add a batch to the metrics of its split."""
        self._evaluate(batch, self._data.val_names[dataloader_idx])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the metrics of its split."""
        self._evaluate(batch, self._data.test_names[dataloader_idx])

    def _evaluate(self, batch: Batch, split: str) -> None:
        assert self.model is not None
        self._unknown.add(split, batch, self.model)
        errors = self.objective(self.model, batch).errors
        # Loaders of one's own may lack places; ids may be those of several frames.
        places = batch.get(PLACE, batch.sid)
        self._evaluation.add(split, errors, places)

    def on_validation_epoch_start(self) -> None:
        """Forget the errors of an earlier, perhaps interrupted, pass."""
        self._evaluation.clear()
        self._unknown.clear()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all splits."""
        values = self._evaluation.values()
        for index, (name, value) in enumerate(values.items()):
            self.log(name, value, prog_bar=index == 0)
        if self._origin is not None:
            self._origin.validated(self.trainer, values)
        if not self.trainer.sanity_checking:  # of a part of each set
            self._unknown.tell()

    on_test_epoch_end = on_validation_epoch_end

    @property
    def _data(self) -> GraphDataModule:
        return data_of(self.trainer)
