"""What stands above the tables of each page."""

from pathlib import Path

COMMON = """Written by `make results` (`tools/arenas/run.py`) from the lines in `docs/arenas`; no number of a table is
entered by hand, and misses are printed like hits. The figure is the last epoch's: the mean over the seeds, in brackets
the lowest and the highest. Within a table every student trains for the same number of epochs where its row says nothing
else. *In as many core-seconds* is the figure minus the best that the student alone reached, at any length the arena has
of it, in at most as many core-seconds; a tenth more is allowed. If none of its lengths took as many, the next longer
one counts, too. Brackets say how many times as many the best one took, if more, or if fewer were enough to be ahead.
The column is empty where the student alone never trained for so long and is not ahead. R2 is the part of the teacher's
features that the stages explain on the validation images, that of the first seed. Core-seconds are those of the
processors, start and validation included; the same training differs by up to 2.4 times between machines and with what
else they do. Seconds on a GPU are those of the clock, with other trainings beside. A table has the rows of one kind of
machine: compare within it. *Where* says under the table on what, with which versions and at which commit a row was
trained. Behind a teacher's lead, ± is the standard error of the student's mean over the seeds; a lead below a point, or
below twice that error, is hardly one."""
INTRO = {
    'results': f"""# Results

{COMMON}
[Which method to choose](choose.md) draws the conclusions. [What makes SSKD pay](levers.md) has SSKD's options.
""",
    'levers': f"""# What makes SSKD pay

SSKD's options one by one, next to the student alone and the other methods, and the controls. The method's page is
[SSKD](sskd.md), the other results are in [results](results.md).

{COMMON}
""",
    'ablations': (Path(__file__).parent / 'ablations.md.in').read_text(),
}
