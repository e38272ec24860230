"""Run work in this process, in worker processes, or on a Ray cluster.

engines.py    map a function over items: serially, in worker processes, or as Ray tasks
retry.py      run groups of photos on an engine; repeat groups that crashed a worker, one photo per task
watchdog.py   call functions that may hang, in a thread that can be left behind
worker.py     how worker processes are started and what each of them sets up first
silence.py    imported by the fork server to discard its stderr
"""
