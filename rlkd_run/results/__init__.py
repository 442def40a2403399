"""Run folders -> tables and pictures: read records, group seeds into cells, show them beside the literature's numbers.

`folders` finds runs, `status` tells where they stand and `status_report` writes that down, `records` reads what they
left (by `fields`, which trust nothing) and `epochs` what they noted on the way, `selection` picks runs, `settings` says
in what configurations differ and `apart` which of that a row has to say, `mixture` what differs though no setting says
so, `reported` holds the literature's numbers and `paper_recipe` says where a run leaves their recipe, `aggregate` makes
one cell of all seeds of a setting, `pools` says which cells are compared and `significance` what their seeds can tell.
`list_layout`, `paper_layout` (with the `references` above its rows) and `comparison_table` lay cells out as a `table`,
by `figures` and under a `caption`; `markdown`, `latex` and `page` write it down, and `csv_table` the cells themselves.
`plots` draws. `report` goes the whole way, what it has to say beside goes through `notices`, and `cli` is the command
`rlkd-table`. Nothing here imports torch, only `plots` imports matplotlib, and SciPy comes in where seeds are compared:
a table costs a fraction of a second.
"""
