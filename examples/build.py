"""A file as `file.py:name` names it: a small network, its data and its score, all made up here.

A file of your own loads weights in `model` and reads data in the other three.
"""

import torch

TRUTH = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))


def data(samples):
    """Inputs of 64 numbers and the class, one of ten, of each."""
    inputs = torch.randn(samples, 64, generator=torch.Generator().manual_seed(samples))
    return inputs, (inputs @ TRUTH).argmax(1)


def model():
    """The network, trained: what `taut compress build.py:model` compresses."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(6):
        for inputs, labels in training():
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs), labels).backward()
            optimiser.step()
    return net.eval()


def batches():
    """Inputs without labels: for `--calib`."""
    return data(256)[0].split(32)


def training():
    """Inputs with labels, in a new order each time: for `--train`."""
    inputs, labels = data(1024)
    return [(inputs[some], labels[some]) for some in torch.randperm(1024).split(64)]


def score(net):
    """Labels and logits of inputs that nothing above has seen: for `--score`."""
    inputs, labels = data(1000)
    return {"labels": labels, "logits": net(inputs)}
