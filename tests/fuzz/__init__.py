"""Properties of what anybody may send; `make fuzz` tries each for a chosen time."""
