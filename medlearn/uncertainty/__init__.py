"""Knowing what you don't know: how sure an answer is, and when to ask a person (chapters 14 and 15)."""
from medlearn.uncertainty.calibration import (Reliability, TemperatureScaling, brier_score, classwise_ece,
                                              negative_log_likelihood, reliability)
from medlearn.uncertainty.conformal import (Interval, aps_scores, conformal_interval, conformal_quantile,
                                            false_negative_threshold, lac_scores, residual_scores, true_class_scores)
from medlearn.uncertainty.dropout import mc_dropout
from medlearn.uncertainty.ensemble import Ensemble
from medlearn.uncertainty.gate import ShiftGate, shift_gate
from medlearn.uncertainty.laplace import laplace_variance
from medlearn.uncertainty.likelihoods import (gaussian_nll, logit_normal_nll, logit_normal_probabilities, speckle_nll,
                                              split_head)
from medlearn.uncertainty.low_rank import low_rank_logits, low_rank_nll
from medlearn.uncertainty.selective import RiskCoverage, referral, risk_coverage
from medlearn.uncertainty.variance import (Entropies, RunningProbabilities, RunningVariance, Variances, class_entropy,
                                           class_variance, total_variance)

__all__ = [
    "Ensemble", "Entropies", "Interval", "Reliability", "RiskCoverage", "RunningProbabilities", "RunningVariance",
    "ShiftGate", "TemperatureScaling", "Variances", "aps_scores", "brier_score", "class_entropy", "class_variance",
    "classwise_ece", "conformal_interval", "conformal_quantile", "false_negative_threshold", "gaussian_nll",
    "lac_scores", "laplace_variance", "logit_normal_nll", "logit_normal_probabilities", "low_rank_logits",
    "low_rank_nll", "mc_dropout", "negative_log_likelihood", "referral", "reliability", "residual_scores",
    "risk_coverage", "shift_gate", "speckle_nll",
    "split_head", "total_variance", "true_class_scores",
]
