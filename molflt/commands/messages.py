"""What a training says on stderr, and what is left unsaid."""

import logging
import sys
import warnings

MESSAGES = logging.StreamHandler()
MESSAGES.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))


def quiet() -> None:
    """Show molflt's messages; silence what Lightning says about itself.

    Its warnings about results stay.
    """
    ours = logging.getLogger("molflt")
    ours.setLevel(logging.INFO)
    MESSAGES.stream = sys.stderr  # of now: it may have been redirected
    ours.addHandler(MESSAGES)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",
        "The '.*dataloader' does not have many workers",
        "The number of training batches",
        "The dirpath has changed from",
        "Checkpoint directory .* exists and is not empty",
        "Experiment logs directory .* exists",
        # The data module goes on where the run stopped, see GraphDataModule.resume_at.
        "You're resuming from a checkpoint that ended before the epoch ended",
        ".*treespec, LeafSpec",
        "It is recommended to use `self.log",
        # A run can end before its first validation; if one has been, it is an error.
        ".*could not find the monitored key",
        # Repeated records count once, see AbsoluteErrors.
        "Using `DistributedSampler` with the dataloaders",
    ):
        warnings.filterwarnings("ignore", message)
