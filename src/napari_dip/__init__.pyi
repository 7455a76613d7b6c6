from . import datasets as datasets
from .core.assessment import Assessment
from .core.errors import (
    DeviceError,
    ObservationError,
    ReadError,
    RestorationError,
    RestorationWarning,
    SettingsError,
    WriteError,
)
from .core.header import Header
from .core.noise_properties import NoiseProperties
from .core.observation import Observation
from .core.parameter_maps import ParameterMaps
from .core.progress import Progress
from .core.provenance import Provenance
from .core.result import History, Result
from .fitting.stopping.automatic import Automatic
from .fitting.stopping.data_fission import DataFission
from .fitting.stopping.fixed import FixedSteps
from .fitting.stopping.hold_out import HoldOut
from .fitting.stopping.variance import VarianceStopping
from .io.files import read, read_recipe, write
from .physics.noise.gaussian import Gaussian
from .physics.noise.kspace import KSpace
from .physics.noise.poisson import Poisson, PoissonGaussian
from .physics.noise.rician import Rician
from .run.api import (
    coadd,
    correct_motion,
    deconvolve,
    denoise,
    estimate_noise,
    fit_maps,
    inpaint,
    iter_restore,
    reconstruct_mri,
    restore,
    super_resolve,
)
from .run.recipe import Recipe, list_presets
from .run.restoration_run import RestorationRun

__version__: str

__all__ = [
    "Assessment",
    "Automatic",
    "DataFission",
    "DeviceError",
    "FixedSteps",
    "Gaussian",
    "Header",
    "History",
    "HoldOut",
    "KSpace",
    "NoiseProperties",
    "Observation",
    "ObservationError",
    "ParameterMaps",
    "Poisson",
    "PoissonGaussian",
    "Progress",
    "Provenance",
    "ReadError",
    "Recipe",
    "RestorationError",
    "RestorationRun",
    "RestorationWarning",
    "Result",
    "Rician",
    "SettingsError",
    "VarianceStopping",
    "WriteError",
    "__version__",
    "coadd",
    "correct_motion",
    "datasets",
    "deconvolve",
    "denoise",
    "estimate_noise",
    "fit_maps",
    "inpaint",
    "iter_restore",
    "list_presets",
    "read",
    "read_recipe",
    "reconstruct_mri",
    "restore",
    "super_resolve",
    "write",
]
