"""Reading and judging runs of motley: ``import motley; frame = motley.load("runs/*/run.h5")``.

Figures need matplotlib and are imported on demand: ``from motley import figures``.
"""

from .partitions import ari, births_and_deaths, class_shares, mean_over_groups, nmi, pair_prf, pair_scores, reliability, side_file, threshold_sweep
from .runs import (class_name, clusters, config, eval_counts, find_runs, follow, load, load_eval, open_run, prompts, provenance, rollouts,
                   run_file, short_config, status, text)  # fmt: skip
from .statistics import (EntropyLaw, Interval, band, bootstrap_ci, bootstrap_draws, fit_entropy, improvement_ci, iqm, mean, pass_at_k,
                         performance_profile, probability_of_improvement, profile_band, sign_test)  # fmt: skip

__version__ = "0.1.0"
__all__ = [
    "EntropyLaw", "Interval", "ari", "band", "births_and_deaths", "bootstrap_ci", "bootstrap_draws", "class_name", "class_shares",
    "clusters", "config", "eval_counts", "find_runs", "fit_entropy", "follow", "improvement_ci", "iqm", "load", "load_eval", "mean",
    "mean_over_groups", "nmi", "open_run", "pair_prf", "pair_scores", "pass_at_k", "performance_profile",
    "probability_of_improvement", "profile_band", "prompts", "provenance", "reliability", "rollouts", "run_file", "short_config",
    "side_file", "sign_test", "status", "text", "threshold_sweep",
]  # fmt: skip
