#!/usr/bin/env python3
"""Trains the trainer's small network in Python's torch, for comparison.

The same network, batch, optimizer, schedule and loop as

    stepsize-train --dataset D --data-dir DIR --model cnn --augment none

so that images per second and accuracy can stand side by side. It needs
python3-torch and python3-numpy, and is no part of the build or the tests.

The images lie in memory as normalized floats before the clock starts, which
favours this side: a batch costs it one copy of the rows that it takes.
"""

import argparse
import gzip
import math
import pathlib
import time

import numpy
import torch
from torch import nn
from torch.nn import functional as F


def read_idx(folder, part):
    def values(name, header):
        packed = folder / f"{name}.gz"
        path = packed if packed.exists() else folder / name
        opened = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
        with opened as file:
            return numpy.frombuffer(file.read(), numpy.uint8, offset=header)

    images = values(f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    return images, values(f"{part}-labels-idx1-ubyte", 8)


def read_cifar10(folder, names):
    records = numpy.concatenate([
        numpy.fromfile(folder / name, numpy.uint8).reshape(-1, 3073)
        for name in names if (folder / name).exists()])
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def load(dataset, folder):
    if dataset == "fashion-mnist":
        return read_idx(folder, "train"), read_idx(folder, "t10k")
    train = [f"data_batch_{i}.bin" for i in range(1, 6)]
    return read_cifar10(folder, train), read_cifar10(folder, ["test_batch.bin"])


def to_tensors(images, labels, mean, std):
    x = torch.from_numpy(images.copy()).float()
    return (x - mean) / std, torch.from_numpy(labels.astype(numpy.int64))


def make_cnn(channels, side):
    layers = []
    for width in (32, 64, 128):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * (side // 8) ** 2, 10))


def factor(step, steps):
    warmup = 0.1 * steps
    if step < warmup:
        start = 1 / (warmup + 1)
        return start + (1 - start) * step / warmup
    share = min(1.0, (step - warmup) / (steps - warmup))
    return 0.5 * (1 + math.cos(math.pi * share))


def accuracy(model, images, labels):
    model.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, len(labels), 100):
            part = slice(first, first + 100)
            answers = model(images[part]).argmax(1)
            right += (answers == labels[part]).sum().item()
    model.train()
    return right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion-mnist",
                        choices=["fashion-mnist", "cifar10"])
    parser.add_argument("--data-dir", type=pathlib.Path,
                        default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--epochs", type=int,
                        help="default: 2 for fashion-mnist, 10 for cifar10")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit-train", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    epochs = args.epochs or {"fashion-mnist": 2, "cifar10": 10}[args.dataset]
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    (train_images, train_labels), (test_images, test_labels) = load(
        args.dataset, args.data_dir)
    train_images = train_images[:args.limit_train]
    train_labels = train_labels[:args.limit_train]
    mean = torch.tensor(train_images.mean((0, 2, 3))).view(1, -1, 1, 1).float()
    std = torch.tensor(train_images.std((0, 2, 3))).view(1, -1, 1, 1).float()
    x, y = to_tensors(train_images, train_labels, mean, std)
    test_x, test_y = to_tensors(test_images, test_labels, mean, std)

    model = make_cnn(x.shape[1], x.shape[2])
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    batches = math.ceil(len(y) / args.batch_size)
    steps = epochs * batches
    step = 0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        total = 0.0
        right = 0
        for index in torch.randperm(len(y)).split(args.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = args.lr * factor(step, steps)
            images, labels = x[index], y[index]
            optimizer.zero_grad(set_to_none=True)
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
            right += (logits.argmax(1) == labels).sum().item()
            step += 1
        rate = len(y) / (time.perf_counter() - start)
        print(f"epoch {epoch}: train loss {total / len(y):.4f}, "
              f"accuracy {right / len(y):.4f}, test accuracy "
              f"{accuracy(model, test_x, test_y):.4f}, {rate:.0f} images/s",
              flush=True)


if __name__ == "__main__":
    main()
