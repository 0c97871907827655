"""The six stages, each run by `python -m`. Parameters are checked before TensorFlow loads."""

import sys

if sys.argv[0] == "-m":  # as long as Python looks for the module that it is going to run
    from transfer.core.errors import run_main
    from transfer.core.params_file import load_params

    run_main(load_params)
