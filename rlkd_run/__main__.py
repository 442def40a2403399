"""``python -m rlkd_run`` is ``rlkd-run``."""

from rlkd_run.cli import main

main()
