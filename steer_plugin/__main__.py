"""`python -m steer_plugin` is the command `steer-plugin`."""

from steer_plugin.cli import main

main()
