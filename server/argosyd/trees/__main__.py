"""Starts the helper, which lies apart so that its bytecode is kept: a program's own is compiled anew each time."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))  # own: the program

from argosyd.trees.helper import main

sys.exit(main(sys.argv[1:]))
