"""What depends on what a network is for: class scores, ground truth, numbers of classes; a file for each kind."""

from mmkd.tasks.base import Outcome, Scores, Task
from mmkd.tasks.choice import kind_of, register_task, scoring_parts, task_of

__all__ = ['Outcome', 'Scores', 'Task', 'kind_of', 'register_task', 'scoring_parts', 'task_of']
