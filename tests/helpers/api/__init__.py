"""A small call of every public function and class that takes tensors, to be made on any device.

`CALLS[name][variant]` is a function of a `Place`, which brings the inputs there, and gives the answer. Most are written
`call(function, *inputs)`; a room may leave out the name of a single variant. A name that takes no tensor stands in
`NO_TENSORS`, one that others give back in `ANSWERS`.
"""
from helpers.api import data, export, losses, metrics, nets, own_data, physics, practice, train, uncertainty, viz

CALLS = {}
for room in (losses, metrics, nets, train, uncertainty, data, own_data, physics, viz, export, practice):
    CALLS |= {name: calls if isinstance(calls, dict) else {"": calls} for name, calls in room.CALLS.items()}

NO_TENSORS = set("""
    checks.Case checks.Check checks.Failure checks.Report checks.check checks.examine checks.not_attempted
    checks.registered claims.ClaimError claims.claim claims.claims claims.kinds claims.record cli.main
    data.ArrayCache data.Case data.Entry data.Folder data.LabelRegion data.LesionSpec data.Patches data.Protocol
    data.PublicCohort data.Report data.Stored data.Volume data.check_same_grid data.crop data.download
    data.folds_by_patient data.load_measured data.pad data.read_channels data.read_folder data.read_medmnist
    data.read_volume data.reorient data.resample data.resample_labels data.resized_grid data.respaced_grid
    data.to_ras data.write_folder data.write_volume evaluate.Evaluation evaluate.Row evaluate.Subgroups
    evaluate.evaluate_folders evaluate.model_card evaluate.read_patients evaluate.score_volume evaluate.show_worst
    evaluate.subgroups evaluate.write_subgroups export.onnx_difference export.write_onnx inference.Prediction
    inference.gaussian_window inference.window_starts metrics.Detection metrics.PanopticQuality metrics.Summary
    metrics.assd metrics.hausdorff metrics.hausdorff95 metrics.nsd nets.ReceptiveField nets.TransUNetSize
    nets.analytic_receptive_field nets.effective_kernel nets.hdc_distance nets.leaves_holes nets.nested_graph
    physics.ct.forget_scanner physics.despeckle.gaussian_kernel physics.projection.pixel_width
    physics.protocols.CTProtocol physics.protocols.MRProtocol physics.protocols.UltrasoundProtocol
    physics.ultrasound.Pulse practice.EyeCost practice.EyeTrial practice.NoiseTrial practice.Patient practice.Trial
    practice.clinic practice.eye_cost practice.eye_trial practice.noise_trial practice.patients practice.repeats
    practice.said practice.submission practice.torsos practice.trial practice.ward
    runtime.device runtime.precision runtime.scale runtime.set_scale runtime.steps tasks.Region train.History
    train.Machine train.Recipe train.Samples train.StepTime train.Workload train.ring_all_reduce_s train.step_time
    train.training_hours viz.Explorer viz.colours_of viz.table viz.use_style
""".split())
ANSWERS = set("""
    evaluate.Drift losses.OverlapCounts metrics.ConfusionCounts metrics.SurfaceDistances metrics.SurfaceReport
    nets.InstanceTargets nets.TaskAnswers nets.TasksLoss uncertainty.Entropies uncertainty.Interval
    uncertainty.Reliability uncertainty.RiskCoverage uncertainty.ShiftGate uncertainty.Variances physics.ct.LogCounts
    physics.noise_power.Profile practice.Repeats practice.Slices practice.Study
""".split())
