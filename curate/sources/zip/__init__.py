"""ZIP files: lists their members, and reads one at its position.

member.py         reads one member at its position, without the directory
plain_entries.py  parses many usual entries of the directory together
directory.py      reads the directory in pieces
listing.py        `list_zip_members`: the members with their positions
"""
