"""What is known of a run before it starts, in the rows of a form."""

from __future__ import annotations

from collections.abc import Mapping

from psygnal import Signal

from napari_dip.core.errors import RestorationError
from napari_dip.plugin.layers.metadata import header_of
from napari_dip.plugin.session.forecast_worker import Forecast, ForecastReport
from napari_dip.plugin.widgets.inputs import Inputs
from napari_dip.plugin.widgets.recipe_form import RecipeForm, spare_threads
from napari_dip.plugin.widgets.run_controls import cost_text

WRONG_ENTRY = "an entry cannot be used; the remark below it says why"


class ForecastNotes:
    """Shows the rows that the recipe needs, the noise, the cost, and what is wrong with an entry.

    Parameters
    ----------
    form : RecipeForm
        The settings.
    inputs : Inputs
        The layers.

    Attributes
    ----------
    forecast : Forecast
        Estimates in the background.
    refusal : str
        Why a run cannot start, as a clause; empty if nothing is known to be wrong.
    """

    changed = Signal()
    """There is another refusal, or none."""

    def __init__(self, form: RecipeForm, inputs: Inputs) -> None:
        self._form, self._inputs = form, inputs
        self.forecast, self.refusal = Forecast(), ""
        self.forecast.ready.connect(self._show)

    def update(self, *, is_idle: bool) -> None:
        """Check the entries, and request a forecast in the background unless a run is active."""
        form, inputs = self._form, self._inputs
        for row in inputs.rows.values():
            form.field_errors.show(row, "")
        recipe, layer = form.check(threads=spare_threads()), inputs.layer
        if recipe is None:  # an entry is being typed
            self._drop({}, WRONG_ENTRY)
            return
        inputs.show(recipe)
        if layer is None or not is_idle:
            self._drop({})
            return
        protocol = header_of(layer).protocol
        for name, in_file in recipe.signal.names_in_files.items():
            numbers = dict.fromkeys(f"{number:g}" for number in protocol.get(in_file, ()))
            form.set_placeholder(f"signal.{name}", ", ".join(numbers), "from the file")
        try:
            others = inputs.collect(recipe)
        except RestorationError as error:
            self._drop({"image": str(error)})
            return
        if form.cost.text():  # that of other settings
            form.cost.setText("Estimating ...")
        self._refuse("")
        self.forecast.request(recipe, layer, inputs.axes.sizes, others)

    def _drop(self, errors: Mapping[str, str], refusal: str = "") -> None:
        self.forecast.cancel()
        self._show(ForecastReport(errors=errors), refusal)

    def _show(self, report: ForecastReport, refusal: str = "") -> None:
        """Show the noise, the cost, and what is wrong, each next to the entry that it concerns."""
        form, rows, estimate = self._form, self._inputs.rows, report.estimate
        sigma = estimate.sigma_text if estimate else ""
        is_in_entry = form.set_placeholder("noise.sigma", sigma)
        if estimate is None or (is_in_entry and estimate.source == "estimated"):
            form.noise.setText("")
        else:
            form.noise.setText(f"{sigma}: {estimate.source}.")
        form.cost.setText(cost_text(estimate) if estimate else "")
        for place, sentence in report.errors.items():
            if place in rows:
                form.field_errors.show(rows[place], sentence)
            elif not form.show_error_for(place, sentence):
                form.field_errors.show(rows["image"], sentence)
        form.show_notes()
        self._refuse(next(iter(report.errors.values()), refusal))

    def _refuse(self, refusal: str) -> None:
        self.refusal = refusal
        self.changed.emit()
