"""Run folders -> tables and pictures: read records, group seeds into cells, show them beside the literature's numbers.

`folders` finds runs, `status` tells where they stand, `records` reads what they left and `epochs` what they noted on
the way, `selection` picks runs, `settings` says in what configurations differ and `apart` which of that a row has to
say, `mixture` what differs though no setting says so, `reported` holds the literature's numbers, `aggregate` makes one
cell of all seeds of a setting, `significance` says what the seeds can tell. `list_layout`, `paper_layout` and
`comparison_table` lay cells out as a `table`, which `markdown`, `latex` and `page` write down; `csv_table` writes the
cells themselves. `plots` draws. `report` goes the whole way and `cli` is the command `rlkd-table`. Nothing here imports
torch, only `plots` imports matplotlib, and SciPy comes in where seeds are compared: a table costs a fraction of a
second.
"""
