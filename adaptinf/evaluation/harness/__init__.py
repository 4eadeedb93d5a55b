"""Skills that a command of another program tests, such as lmms-eval: one run of it per step, its result a cell.

`tests` says what is asked, `running` runs it or takes what an earlier call has kept, `reading` finds the score in what
it has written (`lmms_eval`, `json_keys`), `joining` puts it into the skill matrix.
"""
