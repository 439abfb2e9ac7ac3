r"""The practice chapter "Audit a model": what a report would have said if nothing had been wrong with the study."""
from __future__ import annotations

import torch

from medlearn.checks.engine import Case, Check
from medlearn.practice.audit import FAULTS, Study, hand_in, reported


def audit(study: Study) -> dict[str, float]:
    r"""The report's lines: labels where their files say, patients whom nobody knew, no scan left out. Chapter audit."""
    turned = study.label_affine[:, 0, 0] != study.affine[:, 0, 0]
    label = study.label.where(~turned[:, None, None], study.label.flip(1))
    known = torch.isin(study.scan[:, 0], study.learnt[:, 0])
    test = study.test[~known[study.test]]
    rows = dict.fromkeys(study.report, test) | {"threshold": study.calibration}
    return reported(study.probability, label, scan=study.scan, rows=rows)


# ---------------------------------------------------------------------------------------------------------------------
# Cases: other studies than the one that the notebook shows


def _case(name: str, seed: int, faults: tuple[str, ...], hint: str) -> Case:
    return Case(name, dict(study=hand_in(seed, faults)), hint)


_STUDIES = (
    _case("a sound study", 501, (),
          "Each line of this report holds. A sound study must not be accused: where yours differs, it took for a fault "
          "what is none, or computes that line in another way."),
    _case("a study with one fault", 502, FAULTS[:1],
          "It lies in `scan` and `learnt`. What may the network have remembered?"),
    _case("a study with another fault", 503, FAULTS[1:2],
          "It lies in `label` and its file. Draw some labels on their scans, with both affines."),
    _case("a study with a third fault", 504, FAULTS[2:3],
          "It lies in `rows`. Which scans did the line of Dice not ask?"),
    _case("a study with a fourth fault", 505, FAULTS[3:],
          "It lies in `rows`. Where was the threshold found, and where was it tried?"),
    _case("a study with four faults", 506, FAULTS,
          "Put labels right first, then choose whom to ask, then compute: each line needs all of it."),
)

CHECKS = (Check("audit.report", audit, _STUDIES),)
