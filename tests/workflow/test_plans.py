"""What `snakemake -n` plans for the experiments that cannot run here."""

import re


def test_imagenet_is_planned_as_a_whole_without_data(clone):
    clone.environment.pop("IMAGENET", None)
    output = clone.run("-m", "snakemake", "--dry-run", "--quiet", "rules", "--configfile", "config/experiments/imagenet.yaml").stdout
    planned = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}
    networks, methods, with_full_mode, bit_widths, shards = 24, 16, 8, 2, 8
    runs = networks * (methods + with_full_mode)
    expected = {
        "fetch_images": 1,
        "fetch_weights": networks,
        "calibrate": networks,
        "evaluate_fp32": networks,
        "quantize": runs * bit_widths,
        "predict": (runs + networks) * shards,
        "evaluate": runs,
        "aggregate": 1,
    }
    assert expected.items() <= planned.items()


def test_without_its_variable_imagenet_stops_at_once(clone):
    clone.environment.pop("IMAGENET", None)
    result = clone.snakemake("--configfile", "config/experiments/imagenet.yaml", "--until", "fetch_images", check=False)
    assert result.returncode == 1
    assert "${IMAGENET}/train: IMAGENET is not set in the environment" in result.stdout
    assert "`make reproduce CONFIG=config/experiments/imagenet.yaml IMAGENET=/path`" in result.stdout
    assert "rule fetch_images" not in result.stdout
