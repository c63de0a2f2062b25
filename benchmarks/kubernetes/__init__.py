"""A hub with TokenKubeSpawner against one with plain KubeSpawner, on one cluster, in one run."""
