"""Task-dependent parts: class scores, ground truth, class counts; one file per task."""

from mmkd.tasks.base import Outcome, Scores, Task
from mmkd.tasks.known_tasks import kind_of, register_task, scoring_parts, task_of

__all__ = ['Outcome', 'Scores', 'Task', 'kind_of', 'register_task', 'scoring_parts', 'task_of']
