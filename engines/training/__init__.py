"""From clips to weights: data, losses, the training loop, and the judging of engines. Needs the extra `train`."""
