"""A network of one bridge block, for tests of what is done to blocks."""

from torch import nn


class PatchNetwork(nn.Module):
    """A map, then tokens whose number depends on the batch, so that a number enters the block next to the map."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 8, 1)
        self.project, self.head = nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        patches = self.conv(self.stem(x).relu()).unflatten(2, (2, 2)).movedim(2, 1)
        tokens = self.project(patches.reshape(x.shape[0] * 2, 8, -1).transpose(1, 2))
        return self.head(tokens.reshape(tokens.shape[0] // 2, -1, 6).mean(1))
