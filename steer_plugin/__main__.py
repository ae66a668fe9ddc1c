"""`python -m steer_plugin` is the command `steer-plugin`."""

from steer_plugin.cli.main import main

main()
