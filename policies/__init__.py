"""What acts: scripted policies, planners, and policies learned on frozen features."""
