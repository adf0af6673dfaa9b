"""The one exception that the commands of this package turn into a message and exit code 1."""


class ClusterError(Exception):
    """Something the user can mend; the message names the object, the cause and the next step."""
