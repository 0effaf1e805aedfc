"""Features that are computed once and kept in a file. Nothing else needs this folder but StageScheduleHook."""
