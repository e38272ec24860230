"""List everything that a scan is given, in one stable order: folders, files, containers, URLs and lists of paths.

containers.py  the members of a container, by the format that its name says
urls.py        files at URLs
sorting.py     sorts a listing of any length, and gives each photo the files that belong to it
local.py       folders and files of this machine
path_lists.py  files with one path per line
sources.py     `Sources`: all of these as one listing; `ShardSpec`: a part of it
"""
