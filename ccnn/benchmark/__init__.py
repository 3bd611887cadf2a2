"""What networks cost: times taken side by side, memory and arithmetic by simulation."""
