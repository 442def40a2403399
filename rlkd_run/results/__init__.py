"""Run folders -> tables: find and read records, group seeds into cells, print them beside the literature's numbers.

`records` reads what a run left, `settings` says in what configurations differ, `reported` holds the literature's
numbers, `aggregate` makes one cell of all seeds of a setting, `table` and `csv_table` write cells down, `report` goes
the whole way and `cli` is the command `rlkd-table`. Nothing here imports torch: a table costs a fraction of a second.
"""
