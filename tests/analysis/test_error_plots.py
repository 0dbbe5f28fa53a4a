import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from molflt.analysis import error_plots
from molflt.analysis.style import panels


@pytest.mark.parametrize("size", [1.7e-7, 3e-9, 8e-4, 0.017])
def test_ticks_of_rotation_errors_say_where_they_are(size):
    """A tick at -1.5e-07 has two digits: with one it looks like another tick."""
    figure, (ax,) = panels(1)
    errors = size * np.array([0.3, -1.0, -0.6])
    error_plots.rotation_error(ax, errors, [False, True, False])
    FigureCanvasAgg(figure).draw()
    texts = [label.get_text() for label in ax.get_yticklabels()]
    written = [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]
    np.testing.assert_allclose(written, ax.get_yticks(), atol=1e-3 * size)
