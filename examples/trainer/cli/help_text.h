#pragma once

namespace stepsize::trainer {

/// What stepsize-train --help says; a test holds it against the options.
inline constexpr const char* kShortHelp =
    R"(Trains a network on images, with its learning rate on a schedule.
Without an option: a small network on Fashion-MNIST, in under two minutes.

Usage: stepsize-train [OPTIONS]

Data
  --dataset NAME       fashion-mnist, mnist, emnist-letters, cifar10, ...
  --data-dir DIR       its folder, or CIFAR's .tar.gz
  --augment NAME       none, flip or crop-flip

Training
  --model NAME         cnn, resnet20 or resnet18
  --optimizer NAME     sgd, adamw, clipped-sgd, power-sgd, muon, prodigy and
                       16 more: a table in --help-all
  --lr X               the learning rate; auto: found by a range test
  --schedule TEXT      what multiplies it ["warmup 10% > cosine 90%"]
  --epochs N           passes over the training images
  --batch-size N       images in an update [128]
  --early-stop N       end after N epochs without a lower test loss
  --ensemble N         test N snapshots of the run together
  --lr-find            the range test alone, with its picture
  --search N           find the rate by N short trials; 15 are enough
  --monitor curvature  watch the sharpness, with its picture

Runs
  --out DIR            folder of the run [runs/NAME-N, a new one for each run]
  --resume             go on with the last run, or with that in --out
  --compare DIR...     draw runs in one picture, with a table
  --evaluate FILE      test the model of a checkpoint
  --export FILE        write the trained weights, for torch::load()

Machine
  --device NAME        cpu or cuda
  --threads N          threads of the CPU
  --amp bf16           products and convolutions in bfloat16, by autocast

Examples
  stepsize-train --lr auto
  stepsize-train --optimizer adamw --schedule "warmup 200 > cosine to 0.01"
  stepsize-train --resume
  stepsize-train --compare runs/*

--help-all has all options with their defaults, the language of schedules, the
files of a run and the exit statuses. --version shows the versions.
)";

/// What stepsize-train --help-all says above its options.
inline constexpr const char* kDescription =
    "Trains a network on images, with its learning rate on a schedule.\n"
    "Without an option: a small network on Fashion-MNIST, in under two\n"
    "minutes on two cores.";

/// And below them.
inline constexpr const char* kFooter = R"(
Examples:
  stepsize-train --lr auto
  stepsize-train --lr-find --optimizer adamw --batch-size 512
  stepsize-train --optimizer adamw --schedule "warmup 200 > cosine to 0.01"
  stepsize-train --optimizer clipped-sgd --max-norm 2 --lr 0.5
  stepsize-train --optimizer power-sgd --schedule constant
  stepsize-train --dataset cifar10 --data-dir ~/cifar-10-batches-bin
  stepsize-train --resume
  stepsize-train --dataset cifar100 --data-dir ~/cifar-100-binary.tar.gz \
      --model resnet20 --epochs 60 --augment crop-flip --out runs/a
  stepsize-train --compare runs/a runs/b
  stepsize-train --evaluate runs/a/checkpoints/best.ckpt --export a.pt

Schedules: the factor of --lr, curve after curve ("A > B" plays B after A,
"A * B" multiplies). A duration is a count of updates, epochs ("2ep") or a
share of the run ("10%"); one curve without a duration takes what is left.
  constant                           the rate stays as it is
  warmup 10% > cosine 90%            up in a line, down in half a cosine
  warmup 500 > cosine to 0.05        ends at a twentieth of the rate
  warmup 5% > constant for 75% > cooldown sqrt
                                     warm up, hold, cool down at the end
Whatever looks like a mistake in a schedule is said before the run starts.

Each run has a folder of its own, runs/NAME-N, with --out the one named (a run
that has checkpoints there is replaced with --overwrite). Files in it:
  log.csv       one row an epoch: epoch, step, lr, train_loss,
                train_accuracy, test_loss, test_accuracy, images_per_second
  steps.csv     one row an update: step, lr, train_loss, grad_norm,
                sharpness and lr_sharpness (of --policy sharpness), batch,
                noise_scale (where an update has several micro-batches)
  lr.svg, loss.svg, accuracy.svg, gradient.svg
                the same as pictures; with --policy sharpness
                sharpness.svg, with several micro-batches batch.svg
  report.html   all of them on one page, with the summary and the options
  curvature.csv, sharpness.svg
                with --monitor curvature: one row a measurement, of the
                last update's first micro-batch
  lr_range.csv, lr_range.svg
                of the range test, with --lr auto and --lr-find
  lr_search.csv, lr_search.svg, lr_search.jsonl
                of the search, with --search; it goes on from the last one
  checkpoints/  the last two checkpoints, and best.ckpt, that of the epoch
                with the lowest test loss

Ctrl-C and SIGTERM save the run and end it; a second Ctrl-C ends it at once.
With --resume these may differ from the run so far: --epochs, --data-dir (for
the same images), --threads, --device, --checkpoint-every and --profile.

The same seed gives the same log on a CPU, images_per_second aside, as long
as --threads stays the same.

Exit status: 0 done, 1 something given cannot be used, 2 the command line
is wrong, 3 the loss diverged, 4 another process was lost, 130 ended by
Ctrl-C, 143 by SIGTERM.)";

}  // namespace stepsize::trainer
