"""Captions of tables and figures, for the HTML report, Markdown and LaTeX alike."""

import pandas as pd

from qhyvit.graph.floating_point_kinds import KINDS

_DRAWS = (
    "Chance is that of the evaluation images, and also that of the draw of the calibration images if there are several seeds, which are"
    " averaged. With one seed, all of it holds on that draw only."
)
_PAIRED_TEST = (
    "on the same images. Columns are networks, and their mean; brackets hold 95 % intervals (Student's t). None is narrower than what N"
    " images cannot exclude where none differs: 100 (1 - 0.05^(1/N)) points to either side. That is about 300 / N, the rule of three."
    f" Asterisks mark differences beyond chance. {_DRAWS} All rows of the table are one family of tests (Holm). With one seed, the"
    " probability that any is marked wrongly is at most 5 %. With several it may be larger: p-values of few draws are too small if the"
    " draws happen to agree."
)
_FIRST_SEED = "It is of the first seed."
_SOME_SITES = "Of more than 50 sites, only every second or further one has its name below."
_COMPARED = (
    "One row per cell of ours, next to the published cell of the same network where it is known. Accuracies are in percent, drops in points"
    f" with their 95 % paired interval. {_DRAWS} Differences, ours minus the paper's, are given only on all 50,000 images of ImageNet's"
    " validation set: accuracies on other images cannot be subtracted. `source` and `trust` say where the published number was read and how"
    " sure it is (resources/published/README.md)."
)

RESULTS = (
    "One row per run. Accuracies and drops are in percent, the Kullback-Leibler divergence from the FP32 network is in nats. The interval"
    " of a drop is over evaluation images, on the run's own draw of the calibration images."
)
ACCURACY = f"Top-1 accuracy by method and bit-width, with the drop from FP32 and its 95 % paired interval, in points. {_DRAWS}"
TABLE_II = f"Partial quantization (softmax and norms in FP32) at 8 and 6 bits, next to Table II of the paper. {_COMPARED}"
TABLE_III = (
    "Full quantization (softmax, norms, activation functions and additions too), next to Table III of the paper, which has 8"
    " bits only, and to HyQ's comparison where that table has no known cell."
    f" These stay in FP32: {'; '.join(KINDS.values())}; biases, and the arithmetic inside softmax, norms and activation functions."
    f" {_COMPARED}"
)
TABLE_IV = (
    "Ablation: scale, granularity and scheme searched one after the other, then bridge blocks, next to Table IV of the paper (8 bits,"
    " MobileViTv1-xxs), which ends with the whole method. The last step, cross-validated ranges (`qhyvit-cv`), and `qhyvit-scheme` have no"
    f" published cell. {_COMPARED}"
)
IMPROVEMENT = (
    "Mean points by which the top-1 of the paper's method, and of ours, is above that of each baseline, with the number of cells in"
    " the mean; and again without collapsed baselines, which lose more than 10 points themselves. The paper's means are over its known"
    " published cells; `stated` is its mean over all of its networks. The paper has `qhyvit` alone. A row of several baselines is given"
    " where all of them ran. It pools their cells; the paper's headline is the mean of its three means."
)
PAIRED = f"Points by which the top-1 of the paper's method, and of ours, is above that of a baseline {_PAIRED_TEST}"
ABLATION = (
    "Steps of the search: scale, granularity, scheme, bridge blocks, and cross-validated ranges. Points by which the top-1 of each is above"
    f" that of the step before {_PAIRED_TEST}"
)
JOINT = (
    "Joint search of bridge blocks, with the best few candidates (`qhyvit`) and with all (`qhyvit-joint`), against the search without"
    " it (`qhyvit-scheme`). KL is the mean divergence from the FP32 network in nats, and top-1 is in percent; both are means over"
    " seeds. Their ratio, and the"
    " gain of top-1 in points, are given with the smallest and the largest value of any seed in brackets."
)
DEPLOYMENT = (
    "Networks that were exported and run as integers by the engine of their format, on one thread. Other tools quantized the same"
    " networks from the same calibration images. Top-1 is in percent, and its drop from the FP32 network in points, with the 95 %"
    " paired interval over images. KL is the Kullback-Leibler divergence from it in nats. Agreement is with"
    " the simulation: the share of images with equal top-1 in percent, and differences of logits relative to the largest one. The"
    " noise columns compare the simulation with itself under noise of up to 3e-7 of the largest activation, on 500 images. The largest of"
    " a site is the"
    " difference at a site with the simulation's inputs. `int8` is the share of multiply-accumulates in int8 kernels of the compiled"
    " model, in percent; MiB is the size of the files."
)
DEPLOYMENT_PAIRED = f"Points by which the top-1 of an exported network, run by OpenVINO, is above that of another tool {_PAIRED_TEST}"
SEEDS = (
    "Top-1 in percent over the seeds of each run: mean, standard deviation (of the sample) and extremes, on the same evaluation images. A"
    " seed draws the calibration images, their sampled labels and positions."
)
CALIBRATION_SIZE = (
    "Drop of top-1 by number of calibration images, in points: mean, standard deviation and extremes over seeds, each of which draws other"
    " images. The evaluation images are the same everywhere."
)
CHALLENGES = (
    "One row per site and activation operand, in order of execution. Channels are heads at matrix products. Ranges are high - low over the"
    " calibration images; the ratio is the widest channel's range to the median one's. A zero point overflows if an 8-bit asymmetric grid"
    " that just covers the range has it outside 0 to 255. Errors are squared and relative to the activation's energy, with the zero point"
    " clipped, and with the range widened to contain 0."
)
CHALLENGES_BY_NETWORK = (
    "The four challenges of Q-HyViT (Section III) for each network. Ranges and overflow are of the inputs of convolutions and linear"
    " layers. Range ratios are medians over sites. Errors are medians over the sites with a channel whose 8-bit zero point overflows. A"
    " residual branch is bypassed by an addition of an unchanged tensor."
)
TIMINGS = "Wall-clock seconds of calibration and quantization of each run, on one thread; means over seeds."
JOB_MINUTES = (
    "Wall-clock minutes of all jobs that run networks, by rule, one after another on one core: calibration, quantization, evaluation and"
    " analysis. Jobs on a machine with N idle cores take about an N-th of it. Jobs that other experiments share count for each of them."
)
RUNNING_TIME = (
    "Wall-clock seconds of each job, on one thread and next to other jobs on the machine; means over seeds. Calibration is shared by all"
    " methods and bit-widths, full mode includes the time of partial mode, and the total is over all bit-widths. Cells are blank if a job"
    " left no benchmark. The rows of the model `mean` are over networks; the paper's means (Fig. 9) are seconds on an A100 of 80 GB, over"
    " networks and at bit-widths that are not known."
)
CONFIGURATION = "All settings of the experiment, its models and its methods, and the version of each package that the project requires."
RUNS = (
    "Origin of each quantized network: commit and package version of its search and its calibration, its device and processor, and"
    " sha256 hashes of settings, calibration, weights and image manifest, as recorded in its file."
)

DROPS = (
    "Drop of top-1 from FP32 by method, in points: one panel per bit-width, one mark per network with the 95 % paired interval of its drop."
    f" The axis is linear up to 2 points and logarithmic beyond. {_DRAWS}"
)
CLAIMS = (
    "Drop of top-1 from FP32 by network, in points: one panel per bit-width, one mark per method with the 95 % paired interval of its drop."
    " Vertical strokes are the published drops that are known (resources/published), on ImageNet's whole validation set; dotted lines lead"
    f" to them from ours. The axis is linear up to 2 points and logarithmic beyond. {_DRAWS}"
)
SEEDS_FIGURE = (
    "Top-1 of each seed minus the mean over seeds, in points, by method: one panel per bit-width, each with its own scale, one mark per"
    " network and seed. Seeds of one network are slightly apart. A seed draws the calibration images, their sampled labels and positions."
)
ABLATION_FIGURE = (
    "Drop of top-1 from FP32, in points, as the search takes on more: scale, granularity, scheme, the layers of each bridge block jointly,"
    " and cross-validated activation ranges, which are not in the paper. One panel per bit-width, each with its own scale, one line per"
    " network. Bars are the 95 % intervals of the drops. Steps share images, so intervals of their differences are narrower: the table of"
    f" gains has them. The axis is linear up to 2 points and logarithmic beyond. {_DRAWS}"
)
CALIBRATION_SIZE_FIGURE = (
    "Drop of top-1 from FP32 by number of calibration images, in points: means over seeds; bars span the extremes. One row of panels per"
    " bit-width, each with its own scale, one column per network. Methods are slightly apart. The evaluation images are the same."
)
SITE_ERRORS = (
    "Quantization error at each site of {model}, in order of execution: the Fisher-weighted squared error of the site's output relative to"
    " its Fisher-weighted energy, on the sampled calibration rows. Dark is a large error; white is none, as where no gradient of a sampled"
    " row reaches a site. Colours are logarithmic. The bias is no part of the error. Weights that correction or tuning changed are compared"
    " with the original ones, so their rows contain what was changed on purpose. Full mode quantizes other outputs as well, which have no"
    f" column. {_SOME_SITES} {_FIRST_SEED}"
)
SENSITIVITY = (
    "Sites of {model} that cost most when they alone are quantized by {method} to {bits}: the KL divergence of the predictions from those"
    " of the FP32 network, on calibration images that the calibration did not draw. Next to it the remaining divergence when all sites"
    " except this one are quantized: the lower, the more this site costs together with the others. The vertical line is the divergence with"
    f" all sites quantized. Both axes are logarithmic. {_FIRST_SEED}"
)
CHANNEL_RANGES = (
    "Ranges of the channels at the input of each layer of {model}, in order of execution (logarithmic). The thin line spans all channels,"
    " the thick one the middle half; the dot is the median. Constant channels are left out, so that a site of constant channels only has no"
    f" mark. Orange sites belong to a bridge block. {_SOME_SITES} {_FIRST_SEED}"
)
ZERO_POINT_OVERFLOW = (
    "Share of the channels at the input of each layer whose 8-bit zero point would overflow if it were chosen per channel, in order of"
    " execution. One panel per network, each with its own scale. Shaded sites belong to a bridge block. Networks where fewer than 1 % of"
    f" the channels of each site overflow have no panel; the note below names them. {_FIRST_SEED}"
)
BRIDGE_SITES = (
    "Inputs of convolutions and linear layers in bridge blocks (hatched, above) and at other sites (below). Left: ranges (high - low) of"
    " the channels relative to the median one of their site, both without constant channels. The shape is their density, of the same height"
    " for all; the bar spans the middle half and the white dot is the median. Right: share of the channels whose 8-bit zero point would"
    f" overflow, over all channels (bar) and at each site (dots, in order of execution). {_FIRST_SEED}"
)
DROP_AGAINST_SECONDS = (
    "Drop of top-1 from FP32, in points, against the wall-clock seconds of calibration and quantization: one panel per bit-width. Small"
    " marks are networks, means over seeds; large ones are means over networks. The axis of seconds is logarithmic; that of drops is linear"
    " up to 2 points and logarithmic beyond. Times are of this run on this machine, on one thread and next to other jobs."
)
DEPLOYMENT_FIGURE = (
    "Exported networks at W8A8, with one draw of the calibration images: one line per method and engine, one mark per network. Left: drop"
    " of top-1 from FP32, in points, with its 95 % paired interval over images. Right: latency relative to FP32 in OpenVINO"
    " (reports/benchmarks/latency.csv, at the networks' own image sizes); its processor, which latency.md names, may be another than"
    " that of the left panel. Lines without marks there were not measured."
)


def run_note(runs: pd.DataFrame) -> str:
    """Return a note on the evaluation images and the seeds of a table's ``runs``; there may be none.

    Their columns are ``images`` and either ``seed``, of each, or ``seeds``, the number of those that a row is the mean of.
    """
    if runs.empty:
        return ""
    seeds = runs.seeds.max() if "seeds" in runs else runs.seed.nunique()
    return f"This run has {int(runs.images.max()):,} evaluation images and {'one seed' if seeds == 1 else f'{seeds} seeds'}."
