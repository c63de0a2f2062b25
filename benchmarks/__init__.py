"""What jhub-tokens costs a hub: the same hub with and without it, measured side by side."""
