"""How weights follow their gradients: the optimiser and its learning rate."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import Trainer
from torch import nn
from torch.optim import AdamW, Optimizer, SparseAdam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from molflt.errors import UsageError
from molflt.training.own_schedule import Interval, plan_of
from molflt.training.schedules import SCHEDULES, ScheduleName, steps_of

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
"""What makes an optimiser of groups of parameters: a class of torch.optim, for one."""

Schedule = ScheduleName | Callable[[Optimizer], LRScheduler]
"""One of `SCHEDULES` by name, or what makes a schedule of an optimiser."""


@dataclass(frozen=True)
class Descent:
    """An optimiser and its schedule.

    Args:
        lr: Peak learning rate of AdamW.
        weight_decay: Decay, by AdamW, of the weights of linear layers; nothing else
            decays.
        warmup_steps: Steps of linear rise, see `schedules`.
        schedule: What follows them; or a schedule of one's own, without a rise.
        interval: How often a schedule of one's own is updated.
        optimizer: Optimiser for AdamW, with rate and decay of its own; it is given
            `groups`.

    Raises:
        UsageError: Options out of range.
    """

    lr: float
    weight_decay: float
    warmup_steps: int
    schedule: Schedule
    interval: Interval = "epoch"
    optimizer: OptimizerFactory | None = None

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise UsageError(f"lr must be above 0, not {self.lr:g}.")
        for name in ("weight_decay", "warmup_steps"):
            if (value := getattr(self, name)) < 0:
                raise UsageError(f"{name} must not be negative, not {value:g}.")
        if not callable(self.schedule) and self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise UsageError(
                f"schedule must be {known} or a class of torch.optim.lr_scheduler, "
                f"not {self.schedule!r}."
            )

    def start(
        self, module: nn.Module, trainer: Trainer, monitor: str | None
    ) -> dict[str, Any]:
        """Return the optimiser of a module and its schedule, as Lightning takes them.

        Args:
            module: Module whose parameters are trained.
            trainer: The trainer, which knows how long.
            monitor: Error that ReduceLROnPlateau watches; None: there is none.

        Raises:
            UsageError: An optimiser or schedule of one's own cannot be made, or not be
                used in this training.
        """
        optimizer = self._optimizer(module, trainer)
        if callable(self.schedule):
            schedule = _made("schedule", self.schedule, optimizer)
            plan = plan_of(schedule, self.interval, trainer, monitor)
        else:
            factor, warmup = SCHEDULES[self.schedule], self.warmup_steps
            total = steps_of(trainer)
            schedule = LambdaLR(optimizer, lambda step: factor(step, warmup, total))
            plan = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def _optimizer(self, module: nn.Module, trainer: Trainer) -> Optimizer:
        if self.optimizer is None:
            fused = "mixed" not in str(trainer.precision)
            return adamw(module, self.lr, self.weight_decay, fused=fused)
        optimizer: Optimizer = _made("optimizer", self.optimizer, groups(module))
        if isinstance(optimizer, SparseAdam):
            raise UsageError(
                "model.optimizer cannot be SparseAdam, which is for sparse gradients."
            )
        log.info(
            "The optimiser is %s with its own options: lr and weight_decay of the "
            "task are AdamW's.",
            type(optimizer).__name__,
        )
        return optimizer

    def names(self, plan: Mapping[str, Any]) -> dict[str, str]:
        """Return, by option of the task, what a run must be resumed with.

        Args:
            plan: What `start` has returned.
        """
        optimizer, schedule = plan["optimizer"], plan["lr_scheduler"]
        own = callable(self.schedule)
        names = {
            "optimizer": _class_name(optimizer),
            # One class, and what it remembers is the number of steps.
            "schedule": _class_name(schedule["scheduler"]) if own else "by name",
            "schedule_interval": schedule["interval"],
        }
        # The rate is what such a schedule remembers: another one would not act.
        for option in ("lr", "weight_decay") if own else ():
            if option in optimizer.defaults:
                name = f"optimizer.{option}" if self.optimizer else option
                names[name] = f"{optimizer.defaults[option]:g}"
        return names

    def go_on(self, trainer: Trainer, options: list[dict[str, Any]]) -> None:
        """Let options act in a run that is resumed, which took up those it had.

        A schedule that is a class has changed them in its own way: there they stay.

        Args:
            trainer: The trainer, whose optimiser and schedule are as they were.
            options: Those of this run, `options_of`.
        """
        if callable(self.schedule):
            return
        (optimizer,) = trainer.optimizers
        (schedule,) = (config.scheduler for config in trainer.lr_scheduler_configs)
        assert isinstance(schedule, LambdaLR)
        rates = [own["initial_lr"] for own in options]
        schedule.base_lrs = rates
        factor = schedule.lr_lambdas[0](schedule.last_epoch)
        for group, own, rate in zip(
            optimizer.param_groups, options, rates, strict=True
        ):
            group |= own | {"lr": rate * factor}


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return rates and weight decay of an optimiser's groups.

    Nothing else of them: some optimisers keep their state there.
    """
    names = ("lr", "initial_lr", "weight_decay")
    return [
        {name: group[name] for name in names if name in group}
        for group in optimizer.param_groups
    ]


def _class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _made(option: str, make: Callable[[Any], Any], of: Any) -> Any:
    try:
        return make(of)
    except (TypeError, ValueError) as error:
        raise UsageError(f"model.{option} cannot be used: {error}.") from error


def groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return a module's trained parameters: those that decay, and the others.

    Weight decay pulls a linear map towards zero, which is what it is for. A bias, the
    scale of a norm, an embedding of species, or the centres, widths and weights of a
    spectrum have no reason to be small, so only weights of linear layers (two axes or
    more) decay. The others have ``weight_decay`` 0, whatever the optimiser's is.

    Args:
        module: Module whose parameters are trained.
    """
    decaying = {
        id(layer.weight)
        for layer in module.modules()
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad
    }
    trained = [p for p in module.parameters() if p.requires_grad]
    found: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) in decaying]},
        {"params": [p for p in trained if id(p) not in decaying], "weight_decay": 0.0},
    ]
    return [group for group in found if group["params"]]


def adamw(
    module: nn.Module, lr: float, weight_decay: float, *, fused: bool = True
) -> AdamW:
    """Return AdamW with decay on matrices only, see `groups`.

    Source: Loshchilov and Hutter, arXiv:1711.05101.

    Args:
        module: Module whose parameters are trained.
        lr: Peak learning rate.
        weight_decay: Decay of the matrices, decoupled, times the learning rate.
        fused: One pass over all parameters; Lightning refuses to clip gradients with
            it in mixed precision.
    """
    # Fused: one pass over all parameters; a twentieth of a step's time on a CPU.
    return AdamW(groups(module), lr=lr, weight_decay=weight_decay, fused=fused)
