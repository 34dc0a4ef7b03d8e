"""Trains the dense detector that `nested-keras train --task detection` starts from.

The folder NAME.training beside the output keeps each epoch: after an interruption the same command
goes on from there. NAME.data.json and NAME.anchors.json beside the output name the classes and the
anchors.

    python benchmarks/detection/base.py --data VOC_FOLDER --out base.keras --epochs 300
"""

import argparse
import pathlib

import keras

from nested_keras import applications, detection
from nested_keras.cli import detection_data_files, examples
from nested_keras.cli.parts import Reading
from nested_keras.detection import average_precision
from nested_keras.nesting import fitting


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--side", type=int, default=160, help="of the images that the model takes")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--window", type=int, default=None, help="cut images into such windows")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--turn", action="store_true", help="images from above: turn them too")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    """Trains, keeps and measures the detector."""
    args = arguments()
    keras.utils.set_random_seed(args.seed)
    shape = (args.side, args.side, args.channels)
    train, test = detection_data_files.load(args.data, window=args.window)
    anchors = applications.ssd_anchors(shape)
    matcher = detection.Matcher(anchors.boxes())
    reader = detection.SceneReader(shape)
    model = applications.ssd_mobilenet_v2(shape, len(train.classes), width=args.width)
    steps = len(train.examples) // args.batch_size
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, args.epochs * steps, warmup_target=args.learning_rate, warmup_steps=2 * steps
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4),
        {"boxes": detection.BoxLoss(), "scores": detection.ScoreLoss()},
    )
    batches = detection.dataset(
        train,
        reader,
        matcher,
        batch_size=args.batch_size,
        changes=detection.SceneChanges(turn=args.turn),
        seed=args.seed,
        epoch=lambda: int(fitting.step_counter(model.optimizer).numpy()) // steps,
    )
    backup = keras.callbacks.BackupAndRestore(
        str(args.out.with_suffix(".training")), double_checkpoint=True
    )
    model.fit(batches, epochs=args.epochs, callbacks=[backup], verbose=2)
    model.save(args.out)
    examples.keep(args.out, Reading(classes=train.classes, anchors=anchors, window=args.window))
    outputs = model.predict(reader.images(test), batch_size=16, verbose=0)
    found = detection.Finder(matcher.anchors).find(outputs)
    classes = len(train.classes)
    voc = average_precision.voc(test.truths(), found, classes=classes)
    coco = average_precision.coco(test.truths(), found, classes=classes)
    by_class = ", ".join(
        f"{name} {value:.1%}" for name, value in zip(train.classes, voc.table[0], strict=True)
    )
    print(f"VOC mAP@0.5 {voc.mean():.2%} ({by_class}); COCO mAP {coco.mean():.2%}")


if __name__ == "__main__":
    main()
