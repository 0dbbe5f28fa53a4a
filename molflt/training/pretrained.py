"""Fine-tuning: the model of a checkpoint as the starting point for other labels."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ase.data import chemical_symbols
from torch_geometric.data import Data

from molflt.checkpoint import load
from molflt.data.batching import collate
from molflt.data.dataset import GraphDataset
from molflt.data.progress import track
from molflt.data.statistics import Statistics, fit_all_statistics, fit_statistics
from molflt.errors import UsageError
from molflt.graph.parts import adsorbate_atoms
from molflt.graph.subsurface import part_of
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec
from molflt.training.labels import tell_missing
from molflt.training.targets import refuse_other_meaning

References = Literal["shift", "fit", "keep"]

_AT_ONCE = 32  # structures

log = logging.getLogger(__name__)


class Pretrained(FLTEncoder):
    r"""Architecture and weights of a checkpoint, and of its readouts.

    The labels of new data seldom count from the same zero. A prediction is

        y = sum_i reference[z_i] + mean + std * (what the network learned)

    and `references` says what becomes of the offset and of std, the normaliser:

    ========= ========================================================================
    shift     reference[z] (of averaged targets: mean; of energies between adsorbate and
              slab: of the adsorbate's atoms) is changed by the least-squares fit of
              label less prediction, of least norm, in float64; std is kept, so that
              the model starts as what it was, counted from the labels' zero
    fit       offset and std are fitted to the labels alone, as in a training from
              scratch: the normaliser is replaced
    keep      both are kept: the labels count from the same zero
    ========= ========================================================================

    Args:
        checkpoint: Checkpoint of molflt, or the name of a shipped one.
        references: ``shift``, ``fit`` or ``keep``.
        new_targets: Whether targets that the checkpoint lacks are learned, too: with
            readouts of random weights and an offset and std fitted to the labels.
            Otherwise they are refused, as a misspelt name would be one.
        freeze_encoder: Whether the encoder stays what it is, to the last bit, and only
            readouts are trained: for few labels, or features that others shall share.

    Raises:
        InputError: Not a checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        references: References = "shift",
        new_targets: bool = False,
        freeze_encoder: bool = False,
    ) -> None:
        origin = load(checkpoint)
        super().__init__(**origin.encoder.config)
        self.to(origin.encoder.norm.weight.dtype)
        self.load_state_dict(origin.encoder.state_dict())
        if freeze_encoder:
            self.requires_grad_(False)
        # In a tuple, so that its weights are no part of this module.
        self._origin = (origin,)
        self.references: References = references
        self.new_targets = new_targets
        self.checkpoint = str(checkpoint)

    def adapted(self, targets: Sequence[TargetSpec], dataset: GraphDataset) -> FLTModel:
        """Return the model to be trained on.

        Args:
            targets: Targets of the data.
            dataset: Training structures with labels.

        Raises:
            UsageError: A target is none of the checkpoint's and `new_targets` is off,
                or it means something else; or an element is new to what is frozen.
            InputError: A label is missing or not finite.
        """
        (origin,) = self._origin
        specs = [self._matching(spec) for spec in targets]
        # Readouts are made in the default precision, the weights have their own.
        model = FLTModel(self, specs).to(self.norm.weight.dtype)
        name = Path(self.checkpoint).name
        model.origin = {"started_from": {"name": name} | origin.origin}
        known = {old.name for old in origin.targets}
        for name in [spec.name for spec in specs if spec.name in known]:
            model.readout(name).load_state_dict(origin.readout(name).state_dict())
        fitted = fit_all_statistics(dataset, specs, progress=None)
        tell_missing(fitted, len(dataset))
        for spec, found in zip(specs, fitted, strict=True):
            before = origin.statistics.get(spec.name, {})
            self._refuse_unseen(found.elements)
            references: References = self.references if spec.name in known else "fit"
            if references != "keep" and (sentence := found.undetermined):
                log.warning(sentence)
            statistics = (
                self._statistics(model, spec, dataset, found, before)
                if spec.name in known
                else found.plain()
            )
            model.set_statistics(spec.name, statistics)
            log.info(
                "%s: started from %s; %d training structures, references: %s, standard "
                "deviation %.4g %s.",
                *(spec.name, self.checkpoint, len(dataset), references),
                *(statistics["std"], spec.unit),
            )
            _tell_new_elements(before, statistics)
        return model

    def _refuse_unseen(self, elements: Sequence[int]) -> None:
        """Refuse elements of which a part that does not learn knows nothing.

        These are the density features, and an encoder that is frozen: features of such
        elements are as they were drawn.
        """
        trained = {
            int(z)
            for statistics in self._origin[0].statistics.values()
            for z in statistics.get("elements", [])
        }
        new = set(elements) - trained
        if trained and new and not self.norm.weight.requires_grad:
            names = ", ".join(chemical_symbols[z] for z in sorted(new))
            raise UsageError(
                f"{self.checkpoint} was not trained on {names}, which these data have, "
                "and freeze_encoder would leave their features at random; set it to "
                "false."
            )
        density = self.embedding.density
        if density is None:
            return
        if unseen := set(elements) - set(density.numbers):
            names = ", ".join(chemical_symbols[z] for z in sorted(unseen))
            known = "".join(chemical_symbols[z] for z in density.numbers)
            raise UsageError(
                f"{self.checkpoint} cannot be fine-tuned to these data: they have "
                f"{names}, and its density features tell only {known} apart."
            )

    def _matching(self, spec: TargetSpec) -> TargetSpec:
        """Return the data's target with the checkpoint's readout."""
        known = {old.name: old for old in self._origin[0].targets}
        if spec.name not in known:
            if self.new_targets:
                return spec
            raise UsageError(
                f"{self.checkpoint} cannot be fine-tuned to {spec.name!r}: it has "
                f"{', '.join(known)}; choose with model.targets, or set "
                "model.encoder.new_targets to learn another quantity."
            )
        old = known[spec.name]
        what = f"{self.checkpoint} cannot be fine-tuned to these data"
        refuse_other_meaning([old], spec, what)
        return replace(spec, readout=old.readout, interaction=old.interaction)

    def _statistics(
        self,
        model: FLTModel,
        spec: TargetSpec,
        dataset: GraphDataset,
        found: Statistics,
        before: dict[str, Any],
    ) -> dict[str, Any]:
        """Return references, mean and std, and the summary of the data."""
        fresh = found.plain()
        fixed = set(fresh["elements"])
        # What the checkpoint knows it still knows.
        elements = {*fresh["elements"], *(int(z) for z in before.get("elements", []))}
        patterns = [tuple(map(bool, pattern)) for pattern in before.get("pbc_seen", [])]
        patterns += [tuple(map(bool, pattern)) for pattern in fresh["pbc_seen"]]
        fresh["elements"] = sorted(elements)
        fresh["pbc_seen"] = [list(pattern) for pattern in sorted(set(patterns))]
        for name, furthest in (("num_atoms_min", min), ("num_atoms_max", max)):
            fresh[name] = furthest(fresh[name], before.get(name, fresh[name]))
        fresh["odd_electrons_seen"] |= bool(before.get("odd_electrons_seen"))
        tags = before.get("tags_seen", [])  # an older checkpoint does not say
        fresh["tags_seen"] = sorted({*tags, *fresh["tags_seen"]}) if tags else []
        if self.references == "fit":
            return _without_zero(fresh, fixed)
        readout = model.readout(spec.name)
        reference = {z: float(readout.reference[z]) for z in fresh["elements"]}
        mean, shifted = float(readout.mean), False
        if self.references == "shift" and spec.readout != "dipole":
            simple = replace(spec, readout="atoms")  # no moments of an extent
            if spec.interaction:  # as of molecules, which adsorbates are
                simple = replace(simple, interaction=False, kind="potential")
            rest = fit_statistics(_Rest(dataset, model, spec), simple)
            if spec.interaction and rest.undetermined:
                log.warning(rest.undetermined)
            mean += rest.mean
            for z, value in rest.element_reference.items():
                reference[z] += value
            shifted = bool(rest.element_reference)
        fresh["element_reference"] = reference if spec.extensive else {}
        fresh["moment_reference"] = before.get("moment_reference", {})
        fresh |= {"mean": mean, "std": float(readout.std)}
        return _without_zero(fresh, fixed) if shifted else fresh


class _Rest(GraphDataset):
    """The same structures; the label is what a model leaves of it.

    Of an energy between adsorbate and slab, the adsorbates: its references are theirs.
    """

    def __init__(
        self, dataset: GraphDataset, model: FLTModel, spec: TargetSpec
    ) -> None:
        self._dataset, self._spec = dataset, spec
        self._predicted = _predictions(dataset, model, spec.name)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Data:
        name = self._spec.name
        graph = copy.copy(self._dataset[index])
        rest = graph[name].double() - self._predicted[index]
        if self._spec.interaction:
            graph = part_of(graph, adsorbate_atoms(graph))
        graph[name] = rest
        return graph

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._dataset.num_atoms


@torch.no_grad()
def _predictions(dataset: GraphDataset, model: FLTModel, name: str) -> torch.Tensor:
    """Return what the model says of each structure, float64 in the target's unit."""
    model.eval()
    parts = []
    starts = range(0, len(dataset), _AT_ONCE)
    for start in track(starts, "predicting with the model to start from"):
        rows = range(start, min(start + _AT_ONCE, len(dataset)))
        batch = collate([dataset[row] for row in rows])
        normalised = model.normalised(batch, name=name)[name]
        parts.append(model.physical(name, normalised, batch))
    model.train()
    return torch.cat(parts)


def _without_zero(statistics: dict[str, Any], known: set[int]) -> dict[str, Any]:
    """Return statistics without elements whose references other labels do not fix.

    Args:
        statistics: Plain statistics, with elements of the checkpoint.
        known: Elements of the labels that the references were fitted to.
    """
    if not statistics["element_reference"]:
        return statistics
    if lost := sorted({*statistics["elements"]} - known):
        names = ", ".join(chemical_symbols[z] for z in lost)
        log.info(
            "The checkpoint knows %s, the new labels do not, and may count energies "
            "from another zero: structures with these will be refused. If the zero is "
            "the same, set references to keep.",
            names,
        )
    kept = {z: v for z, v in statistics["element_reference"].items() if z in known}
    return statistics | {"elements": sorted(known), "element_reference": kept}


def _tell_new_elements(before: dict[str, Any], after: dict[str, Any]) -> None:
    new = set(after["elements"]) - {int(z) for z in before.get("elements", [])}
    if before.get("elements") and new:
        names = ", ".join(chemical_symbols[z] for z in sorted(new))
        log.info(
            "The checkpoint was not trained on %s: learned from these data.", names
        )
