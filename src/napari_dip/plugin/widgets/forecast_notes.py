"""Shows the forecast of a run in a form."""

from __future__ import annotations

from napari_dip.plugin.session.forecast_worker import ForecastReport
from napari_dip.plugin.widgets.inputs import Inputs
from napari_dip.plugin.widgets.recipe_form import RecipeForm
from napari_dip.plugin.widgets.run_controls import cost_text


def show_forecast(report: ForecastReport, form: RecipeForm, inputs: Inputs) -> None:
    """Show the noise, the cost, and what is wrong, each next to the entry that it concerns."""
    estimate = report.estimate
    sigma = f"{estimate.sigma:.4g}" if estimate else ""
    is_in_entry = form.set_placeholder("noise.sigma", sigma)
    if estimate is None or (is_in_entry and estimate.source == "estimated"):
        form.noise.setText("")
    else:
        form.noise.setText(f"{sigma}: {estimate.source}.")
    form.cost.setText(cost_text(estimate) if estimate else "")
    for place, sentence in report.errors.items():
        if place in inputs.rows:
            form.field_errors.show(inputs.rows[place], sentence)
        elif not form.show_error_for(place, sentence):
            form.field_errors.show(inputs.rows["image"], sentence)
    form.show_notes()


def clear_input_errors(form: RecipeForm, inputs: Inputs) -> None:
    """Remove the messages below the layers."""
    for row in inputs.rows.values():
        form.field_errors.show(row, "")
