"""EMTIS2RE: relaxed adsorption energies of small adsorbates on fcc slabs, with EMT."""

from pathlib import Path

from molflt.data.datamodule import GraphDataModule, Splits
from molflt.data.dataset import GraphDataset
from molflt.data.emt.generate import SPLITS
from molflt.data.lmdb.store import LMDBDataset
from molflt.errors import InputError
from molflt.targets import TargetSpec

SAMPLE = Path(__file__).resolve().parents[3] / "data" / "emt_is2re"


class EMTIS2RE(GraphDataModule):
    """Adsorbates on fcc metal and alloy slabs relaxed with ASE's EMT potential.

    OC20's IS2RE task with a cheap potential: the input is the initial structure, the
    target ``energy`` [eV] is

        E(slab + adsorbate) - E(slab) - E(isolated adsorbate),   each relaxed.

    OC20 subtracts a linear combination of N2, CO, H2O and H2 instead of the adsorbate.
    Slabs are periodic in plane, pbc (True, True, False), with 17 Å of cell above them.
    Validation and test sets: ``val_id`` (as training), ``val_ood_ads`` (new
    adsorbates), ``val_ood_cat`` (new pairs of metals), ``val_ood_both``.

    Args:
        root: Folder of ``molflt data emt``; None: the sample in the repository's
            ``data/emt_is2re`` (a wheel does not contain it).
        frames: Read the frames of the relaxations instead, with total energies and
            forces (``molflt data emt --frames``; not part of the sample).
        batch_size: Structures of a training batch.
        eval_batch_size: Structures of a validation or test batch; None: `batch_size`.
        num_workers: Loader processes.
        seed: Seed of the order of training structures, and of `max_train`.
        max_train: Use this many training structures, drawn at random; None: all.
        in_memory: Keep graphs in memory after the first reading.

    Raises:
        InputError: The folder or one of its files is missing or damaged.
        UsageError: A count out of range.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        frames: bool = False,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_train: int | None = None,
        in_memory: bool = True,
    ) -> None:
        super().__init__(
            batch_size, eval_batch_size, num_workers, seed, max_train, in_memory
        )
        self.root = find_root(root, frames=frames)
        self.frames = frames
        self._targets = self._open("train").targets

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The adsorption energy, or the total energy of frames, as the files say."""
        return self._targets

    def load_splits(self) -> Splits:
        """Open the five files; testing uses the validation sets, as there are no other.

        Raises:
            InputError: A file is missing or damaged, or its targets are not those of
                the training set.
        """
        val: dict[str, GraphDataset] = {}
        for name in SPLITS[1:]:
            dataset = self._open(name)
            if dataset.targets != self._targets:
                raise InputError(
                    f"{dataset.path} has other targets than train.lmdb in its folder."
                )
            val[name] = dataset
        return self._open("train"), val, dict(val)

    def _open(self, split: str) -> LMDBDataset:
        path = self.root / f"{'frames_' if self.frames else ''}{split}.lmdb"
        if self.frames and not path.exists():
            raise InputError(
                f"{path} is missing; `molflt data emt OUT --frames` writes frames."
            )
        return LMDBDataset(path)


def find_root(root: str | Path | None = None, *, frames: bool = False) -> Path:
    """Return `root`, or the folder of the shipped sample.

    Raises:
        InputError: There is no such folder, or no sample in this installation.
    """
    if root is None:
        if not (SAMPLE / "train.lmdb").is_file():
            raise InputError(
                f"The EMT sample is not at {SAMPLE} (it comes with the repository, not "
                "with the wheel); make one with `molflt data emt OUT` and give its "
                "folder as root."
            )
        return SAMPLE
    option = " --frames" if frames else ""
    if not Path(root).is_dir():
        raise InputError(
            f"No such folder: {root}; `molflt data emt {root}{option}` generates the "
            "data."
        )
    return Path(root)
