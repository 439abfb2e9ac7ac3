"""Answers to chapter 17's exercises."""
import numpy as np
import torch

from helpers.answers import right, wrong

ENDS = (0.025, 0.975)

# ---------------------------------------------------------------------------------------------------------------------
# judging.predictive_values


@right("judging.predictive_values")
def by_odds(sensitivity, specificity, prevalence):
    positive = sensitivity * prevalence / ((1 - specificity) * (1 - prevalence))
    negative = specificity * (1 - prevalence) / ((1 - sensitivity) * prevalence)
    as_share = lambda odds: torch.where(odds.isinf(), 1.0, odds / (1 + odds))
    return as_share(positive), as_share(negative)


@right("judging.predictive_values")
def by_those_who_are_called(sensitivity, specificity, prevalence):
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    left = (1 - sensitivity) * prevalence + specificity * (1 - prevalence)
    return sensitivity * prevalence / called, specificity * (1 - prevalence) / left


@right("judging.predictive_values")
def by_a_table_of_four(sensitivity, specificity, prevalence):
    sensitivity, specificity, prevalence = torch.broadcast_tensors(sensitivity, specificity, prevalence)
    given = torch.stack([torch.stack([sensitivity, 1 - specificity]), torch.stack([1 - sensitivity, specificity])])
    table = given * torch.stack([prevalence, 1 - prevalence])           # rows: called ill, called healthy
    shares = table / table.sum(1, keepdim=True)
    return shares[0, 0], shares[1, 1]


@wrong("judging.predictive_values", at="one in ten is ill")
def sensitivity_for_predictive_value(sensitivity, specificity, prevalence):
    return sensitivity + 0 * prevalence, specificity + 0 * prevalence


@wrong("judging.predictive_values", at="one in ten is ill")
def the_positive_one_alone(sensitivity, specificity, prevalence):
    return by_those_who_are_called(sensitivity, specificity, prevalence)[0]


@wrong("judging.predictive_values", at="one in ten is ill")
def called_healthy_and_ill(sensitivity, specificity, prevalence):
    positive, negative = by_those_who_are_called(sensitivity, specificity, prevalence)
    return positive, 1 - negative


@wrong("judging.predictive_values", at="two kinds of error")
def errors_exchanged(sensitivity, specificity, prevalence):
    return by_those_who_are_called(specificity, sensitivity, prevalence)


@wrong("judging.predictive_values", at="three clinics at once")
def the_first_clinic_alone(sensitivity, specificity, prevalence):
    return by_those_who_are_called(*(x.flatten()[:1] for x in (sensitivity, specificity, prevalence)))


@wrong("judging.predictive_values", at="a perfect test")
def with_a_little_added(sensitivity, specificity, prevalence):
    hits, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    quiet, misses = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    as_share = lambda odds: odds / (1 + odds)
    return as_share(hits / alarms), as_share(quiet / misses)


@wrong("judging.predictive_values", at="nobody is called ill")
def zero_where_nobody_is(sensitivity, specificity, prevalence):
    return tuple(value.nan_to_num(0.0) for value in by_those_who_are_called(sensitivity, specificity, prevalence))


@wrong("judging.predictive_values", at="one in ten is ill")
def in_single_precision(sensitivity, specificity, prevalence):
    return by_those_who_are_called(*(x.float() for x in (sensitivity, specificity, prevalence)))


@wrong("judging.predictive_values", at="one in ten is ill")
def writes_over_the_prevalence(sensitivity, specificity, prevalence):
    answer = by_those_who_are_called(sensitivity, specificity, prevalence)
    prevalence *= sensitivity
    return answer


@wrong("judging.predictive_values", at="one in ten is ill")
def printed_and_not_returned(sensitivity, specificity, prevalence):
    print(by_those_who_are_called(sensitivity, specificity, prevalence))


@wrong("judging.predictive_values", at="three clinics at once")
def whole_people_of_a_thousand(sensitivity, specificity, prevalence):
    ill = (1000 * prevalence).round()
    hits, quiet = (sensitivity * ill).round(), (specificity * (1000 - ill)).round()
    return hits / (hits + 1000 - ill - quiet), quiet / (quiet + ill - hits)


@wrong("judging.predictive_values", at="three clinics at once")
def numbers_of_python(sensitivity, specificity, prevalence):
    values = by_those_who_are_called(sensitivity.item(), specificity.item(), prevalence.item())
    return tuple(prevalence.new_tensor([value]) for value in values)


# ---------------------------------------------------------------------------------------------------------------------
# judging.decision_curve


def net_benefit(p, ill, t, price=lambda t: t / (1 - t), at_least=torch.ge, of=lambda treated, ill: len(ill)):
    treated = at_least(p, t)
    return ((treated & ill).sum() - (treated & ~ill).sum() * price(t)) / of(treated, ill)


def curve(p, ill, thresholds, **other):
    return torch.stack([net_benefit(p, ill, t, **other) for t in thresholds])


@right("judging.decision_curve")
def one_by_one(p, ill, thresholds):
    return curve(p, ill, thresholds)


@right("judging.decision_curve")
def by_weights(p, ill, thresholds):
    worth = torch.where(ill, torch.ones_like(thresholds)[:, None], -(thresholds / (1 - thresholds))[:, None])
    return (worth * (p >= thresholds[:, None])).mean(1)


@right("judging.decision_curve")
def by_sorting_once(p, ill, thresholds):
    """Who stands from a place of the sorted list on is treated."""
    p, order = p.sort()
    benefit = torch.stack([ill[order], ~ill[order]]).double().flip(1).cumsum(1).flip(1)     # of those from here on
    hits, alarms = torch.cat([benefit, benefit.new_zeros(2, 1)], 1)[:, torch.searchsorted(p, thresholds)]
    return (hits - alarms * thresholds / (1 - thresholds)) / len(p)


@wrong("judging.decision_curve", at="four patients, one price")
def alarms_for_free(p, ill, thresholds):
    return curve(p, ill, thresholds, price=lambda t: 0 * t)


@wrong("judging.decision_curve", at="four patients, one price")
def price_as_threshold(p, ill, thresholds):
    return curve(p, ill, thresholds, price=lambda t: t)


@wrong("judging.decision_curve", at="a hit for four alarms")
def price_upside_down(p, ill, thresholds):
    return curve(p, ill, thresholds, price=lambda t: (1 - t) / t)


@wrong("judging.decision_curve", at="a hit for four alarms")
def of_those_treated(p, ill, thresholds):
    return curve(p, ill, thresholds, of=lambda treated, ill: treated.sum())


@wrong("judging.decision_curve", at="at the threshold itself")
def above_the_threshold(p, ill, thresholds):
    return curve(p, ill, thresholds, at_least=torch.gt)


@wrong("judging.decision_curve", at="many patients, many prices")
def one_price_for_all(p, ill, thresholds):
    return curve(p, ill, thresholds, price=lambda t: thresholds[0] / (1 - thresholds[0]) if len(thresholds) > 2
                 else t / (1 - t))


@wrong("judging.decision_curve", at="nobody is treated")
def undefined_where_nobody_is_treated(p, ill, thresholds):
    nobody = ~(p >= thresholds[:, None]).any(1)
    return curve(p, ill, thresholds).where(~nobody, torch.nan)


@wrong("judging.decision_curve", at="a hit for four alarms")
def everybody_treated(p, ill, thresholds):
    return curve(torch.ones_like(p), ill, thresholds)


@wrong("judging.decision_curve", at="a hit for four alarms")
def shares_of_the_ill_and_of_the_healthy(p, ill, thresholds):
    treated, price = p >= thresholds[:, None], thresholds / (1 - thresholds)
    return (treated & ill).sum(1) / ill.sum() - (treated & ~ill).sum(1) / (~ill).sum() * price


@wrong("judging.decision_curve", at="four patients, one price")
def a_list_of_numbers(p, ill, thresholds):
    return curve(p, ill, thresholds).tolist()


@wrong("judging.decision_curve", at="four patients, one price")
def rounds_its_input(p, ill, thresholds):
    answer = curve(p, ill, thresholds)
    p[p < thresholds.min()] = 0
    return answer


@wrong("judging.decision_curve", at="at the threshold itself")
def a_single_threshold(p, ill, thresholds):
    return net_benefit(p, ill, thresholds.new_tensor(thresholds.item()))[None]


# ---------------------------------------------------------------------------------------------------------------------
# judging.interval_by_patient


def ends(means):
    means = torch.stack(list(means))
    return means.quantile(torch.tensor(ENDS, dtype=means.dtype))


def of(values, patient):
    return [values[patient == k] for k in range(int(patient.max()) + 1)]


@right("judging.interval_by_patient")
def scan_by_scan(values, patient, drawn):
    scans = of(values, patient)
    return ends(torch.cat([scans[k] for k in row.tolist()]).mean() for row in drawn)


@right("judging.interval_by_patient")
def by_how_often(values, patient, drawn):
    often = (drawn[:, :, None] == patient).sum(1).to(values.dtype)
    return ends(often @ values / often.sum(1))


@right("judging.interval_by_patient")
def by_repeating_scans(values, patient, drawn):
    def mean(row):
        times = np.bincount(row, minlength=patient.max() + 1)[patient]
        return np.repeat(values.numpy(), times).mean()
    return torch.from_numpy(np.percentile([mean(row) for row in drawn.numpy()], [2.5, 97.5]))


@wrong("judging.interval_by_patient", at="one draw")
def each_drawn_patient_once(values, patient, drawn):
    return ends(values[torch.isin(patient, row)].mean() for row in drawn)


@wrong("judging.interval_by_patient", at="one draw")
def the_lower_end_alone(values, patient, drawn):
    return scan_by_scan(values, patient, drawn)[0]


@wrong("judging.interval_by_patient", at="a scan each")
def lowest_and_highest(values, patient, drawn):
    often = (drawn[:, :, None] == patient).sum(1).to(values.dtype)
    return torch.stack((often @ values / often.sum(1)).aminmax())


@wrong("judging.interval_by_patient", at="a scan each")
def the_upper_end_first(values, patient, drawn):
    return scan_by_scan(values, patient, drawn).flip(0)


@wrong("judging.interval_by_patient", at="a scan each")
def ninety_percent(values, patient, drawn):
    often = (drawn[:, :, None] == patient).sum(1).to(values.dtype)
    return (often @ values / often.sum(1)).quantile(torch.tensor([0.05, 0.95], dtype=values.dtype))


@wrong("judging.interval_by_patient", at="two scans of one patient")
def patients_alike_and_not_scans(values, patient, drawn):
    means = torch.stack([scans.mean() for scans in of(values, patient)])
    return ends(means[drawn].mean(1))


@wrong("judging.interval_by_patient", at="two scans of one patient")
def scans_drawn_instead(values, patient, drawn):
    return ends(values[drawn].mean(1))


@wrong("judging.interval_by_patient", at="a patient twice, with two scans")
def divided_by_all_scans(values, patient, drawn):
    often = (drawn[:, :, None] == patient).sum(1).to(values.dtype)
    return ends(often @ values / len(values))


@wrong("judging.interval_by_patient", at="in no order")
def as_if_sorted(values, patient, drawn):
    return scan_by_scan(values, patient.sort().values, drawn)


@wrong("judging.interval_by_patient", at="a longer draw")
def as_many_as_there_are(values, patient, drawn):
    return scan_by_scan(values, patient, drawn[:, :len(patient.unique())])
