"""DiffCont: a diffusion model that replays the classes before, gated by Weibull tails."""
