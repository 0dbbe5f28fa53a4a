"""A GPU in name only: its tensors are on a device of their own and compute on the CPU.

On machines without a GPU it finds what fails or is slow on one: tensors of both devices
in one operation, and each place where the host waits for the device.
"""

import traceback
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

ROOT = Path(__file__).resolve().parent.parent
NAME = "pretended"


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend(NAME, _Backend())
DEVICE = torch.device(NAME, 0)

# What asks the device for a value or a size, and so waits for all work before it.
ASKS = {
    "_linalg_check_errors",
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
COPIES = {"_to_copy", "copy_"}


class OnDevice(torch.Tensor):
    """A tensor on the pretended device; `inner` has its numbers."""

    inner: torch.Tensor
    is_cuda = True  # what has a way of its own on GPUs takes it
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "OnDevice":
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        self.inner = inner
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        raise RuntimeError(f"{func} on a pretended GPU that is gone")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor on a GPU to numpy")

    def __array__(self, *_: Any) -> Any:
        return self.numpy()

    def __repr__(self) -> str:
        return f"OnDevice({self.inner})"


class _Literals(TorchFunctionMode):
    """Makes tensors of Python numbers on the CPU and moves them, as torch does."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            like, *args = args
            kwargs = {"device": DEVICE, "dtype": like.dtype} | kwargs
            func = torch.tensor
        if func in (torch.tensor, torch.as_tensor) and _is_pretended(
            device := kwargs.get("device")
        ):
            return func(*args, **kwargs | {"device": "cpu"}).to(device)
        return func(*args, **kwargs)


class PretendGPU(TorchDispatchMode):
    """While it lasts, tensors can be moved to `DEVICE` and computed with there.

    `waits` says, for each time that the host waited: the operation and where.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __enter__(self) -> "PretendGPU":
        # Parameters are replaced when they are moved, not their storage alone.
        self._swaps = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        self._literals = _Literals()
        self._literals.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._literals.__exit__(*error)
        torch.__future__.set_swap_module_params_on_conversion(self._swaps)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        tensors = [x for x in tree_leaves((args, kwargs)) if _is_tensor(x)]
        wrapped = {id(x.inner): x for x in tensors if isinstance(x, OnDevice)}
        _refuse_mixed(func, name, tensors)
        device = kwargs.get("device")
        there = bool(wrapped) if device is None else _is_pretended(device)
        if name == "copy_":
            there = isinstance(args[0], OnDevice)
        if _waits(name, args, kwargs, from_device=bool(wrapped), to_device=there):
            self.waits.append(f"{name} {_place()}")
        if _is_pretended(device):
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        inner_args, inner_kwargs = tree_map(_inner, (args, kwargs))
        found = func(*inner_args, **inner_kwargs)
        if not there:
            return args[0] if name == "copy_" else found

        def outer(x: Any) -> Any:  # what was changed in place is the same tensor
            if not _is_tensor(x):
                return x
            return wrapped[id(x)] if id(x) in wrapped else OnDevice(x)

        return tree_map(outer, found)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def _is_pretended(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _refuse_mixed(func: Any, name: str, tensors: list[torch.Tensor]) -> None:
    """Fail as a GPU does: numbers mix with its tensors, others must be moved first."""
    there = any(isinstance(x, OnDevice) for x in tensors)
    here = [x for x in tensors if x.dim() and not isinstance(x, OnDevice)]
    if here and there and name not in COPIES:
        shapes = [tuple(x.shape) for x in here]
        raise RuntimeError(f"{func}: {shapes} are on the CPU, others on a GPU")


def _waits(
    name: str, args: Any, kwargs: Any, *, from_device: bool, to_device: bool
) -> bool:
    if name in COPIES:
        if name == "copy_":
            blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
            from_device = isinstance(args[1], OnDevice)
        else:
            blocking = not kwargs.get("non_blocking")
        if from_device != to_device:
            return from_device or blocking
        return False
    if not from_device:
        return False
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("index", "index_put", "index_put_"):
        return any(x is not None and x.dtype == torch.bool for x in args[1])
    return name in ASKS


def _place() -> str:
    """Return the innermost lines of this project that led here."""
    frames = [
        f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}"
        for frame in traceback.extract_stack()
        if Path(frame.filename).is_relative_to(ROOT)
        and ".venv" not in frame.filename
        and frame.filename != __file__
    ]
    return " < ".join(reversed(frames[-3:]))
