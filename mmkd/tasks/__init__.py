"""What scores of classes are, and what teaches them, for each kind of network."""

from mmkd.tasks.base import Outcome, Scores, Task
from mmkd.tasks.choice import task_of

__all__ = ['Outcome', 'Scores', 'Task', 'task_of']
