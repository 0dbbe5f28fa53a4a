"""What density features say once, of uses in which they cannot do what they are for."""

from molflt.warn import warn


class DensityWarnings:
    """Warnings of one module of density features, each given once.

    Attributes:
        looked: Whether the module has been looked at in training.
    """

    def __init__(self) -> None:
        self.looked = False
        self._told = False

    def trains(self, *, is_fitted: bool) -> None:
        """Tell, the first time, that a module is trained that was not fitted."""
        self.looked = True
        if not is_fitted:
            warn(
                "The density features were not fitted, and see a random projection of "
                "their sums: call molflt.density.fit_density(encoder, structures) "
                "before the first step."
            )

    def meets_others(self, known: str) -> None:
        """Tell, the first time, that there are atoms of other elements.

        Args:
            known: The elements that the features tell apart.
        """
        if not self._told:
            self._told = True
            warn(
                "Density features do not see atoms of elements that are not among "
                f"density_elements ({known}), and there are some; add their elements."
            )
