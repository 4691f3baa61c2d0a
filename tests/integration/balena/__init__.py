"""The build engine of the balena CLI, which is JavaScript, and how it is started."""
