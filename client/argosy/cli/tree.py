"""All commands: what calls them, where they are, what they do in one line."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.options import Command, UsageError

# name: (module below argosy.cli, class, summary)
Table = dict[str, tuple[str, str, str]]

CONTAINER: Table = {
    "attach": ("container.attach", "Attach", "Attach local standard streams to a running container"),
    "commit": ("container.commit", "Commit", "Create a new image from a container's changes"),
    "cp": ("container.copy", "Copy", "Copy files between a container and the local filesystem"),
    "create": ("container.create", "Create", "Create a new container"),
    "diff": ("container.files", "Diff", "Inspect changes to files on a container's filesystem"),
    "exec": ("container.exec", "Exec", "Execute a command in a running container"),
    "export": ("container.files", "Export", "Export a container's filesystem as a tar archive"),
    "inspect": ("inspect", "InspectContainer", "Display detailed information on one or more containers"),
    "kill": ("container.lifecycle", "Kill", "Kill one or more running containers"),
    "logs": ("container.logs", "Logs", "Fetch the logs of a container"),
    "ls": ("container.ps", "Ps", "List containers"),
    "pause": ("container.lifecycle", "Pause", "Pause all processes within one or more containers"),
    "port": ("container.port", "Port", "List port mappings of a container"),
    "prune": ("container.prune", "Prune", "Remove all stopped containers"),
    "rename": ("container.lifecycle", "Rename", "Rename a container"),
    "restart": ("container.lifecycle", "Restart", "Restart one or more containers"),
    "rm": ("container.lifecycle", "Rm", "Remove one or more containers"),
    "run": ("container.run", "Run", "Create and run a new container from an image"),
    "start": ("container.start", "Start", "Start one or more stopped containers"),
    "stats": ("container.stats", "Stats", "Display a live stream of container resource usage"),
    "stop": ("container.lifecycle", "Stop", "Stop one or more running containers"),
    "top": ("container.top", "Top", "Display the running processes of a container"),
    "unpause": ("container.lifecycle", "Unpause", "Unpause all processes within one or more containers"),
    "update": ("container.update", "Update", "Update configuration of one or more containers"),
    "wait": ("container.lifecycle", "Wait", "Block until containers stop, then print their exit codes"),
}

IMAGE: Table = {
    "build": ("build.build", "Build", "Build an image from a Dockerfile"),
    "history": ("image.history", "History", "Show the history of an image"),
    "import": ("image.archive", "Import", "Import the contents from a tarball to create an image"),
    "inspect": ("inspect", "InspectImage", "Display detailed information on one or more images"),
    "load": ("image.archive", "Load", "Load an image from a tar archive or standard input"),
    "ls": ("image.ls", "Images", "List images"),
    "prune": ("image.remove", "Prune", "Remove unused images"),
    "pull": ("image.transfer", "Pull", "Download an image from a registry"),
    "push": ("image.transfer", "Push", "Upload an image to a registry"),
    "rm": ("image.remove", "Rmi", "Remove one or more images"),
    "save": ("image.archive", "Save", "Save images to a tar archive (streamed to standard output by default)"),
    "tag": ("image.tag", "Tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
}

BUILDER: Table = {
    "build": IMAGE["build"],
    "du": ("build.cache", "Du", "Show what the build cache holds"),
    "prune": ("build.cache", "Prune", "Remove build cache"),
}

NETWORK: Table = {
    "connect": ("network.attach", "Connect", "Connect a container to a network"),
    "create": ("network.create", "Create", "Create a network"),
    "disconnect": ("network.attach", "Disconnect", "Disconnect a container from a network"),
    "inspect": ("inspect", "InspectNetwork", "Display detailed information on one or more networks"),
    "ls": ("network.ls", "Ls", "List networks"),
    "prune": ("network.remove", "Prune", "Remove all unused networks"),
    "rm": ("network.remove", "Rm", "Remove one or more networks"),
}

VOLUME: Table = {
    "create": ("volume.create", "Create", "Create a volume"),
    "inspect": ("inspect", "InspectVolume", "Display detailed information on one or more volumes"),
    "ls": ("volume.ls", "Ls", "List volumes"),
    "prune": ("volume.remove", "Prune", "Remove unused local volumes"),
    "rm": ("volume.remove", "Rm", "Remove one or more volumes"),
}

SYSTEM: Table = {
    "df": ("system.df", "Df", "Show disk usage"),
    "dial-stdio": ("system.dial", "DialStdio", "Join standard input and output to the daemon's socket"),
    "events": ("system.events", "Events", "Get real time events from the server"),
    "info": ("system.info", "Info", "Display system-wide information"),
    "prune": ("system.prune", "Prune", "Remove unused data"),
    "version": ("system.version", "Version", "Show the version information"),
}

CONTEXT: Table = {
    "create": ("context.commands", "Create", "Create a context"),
    "inspect": ("context.commands", "Inspect", "Display detailed information on one or more contexts"),
    "ls": ("context.commands", "Ls", "List contexts"),
    "rm": ("context.commands", "Rm", "Remove one or more contexts"),
    "show": ("context.commands", "Show", "Print the name of the current context"),
    "update": ("context.commands", "Update", "Update a context"),
    "use": ("context.commands", "Use", "Set the current context"),
}

CLUSTER: Table = {
    "info": ("cluster.commands", "Info", "Display information on the cluster"),
    "init": ("cluster.commands", "Init", "Make this daemon the first manager of a new cluster"),
    "join": ("cluster.commands", "Join", "Join a cluster as a node"),
    "join-token": ("cluster.commands", "JoinToken", "Show or replace a join token"),
    "leave": ("cluster.commands", "Leave", "Leave the cluster"),
}

NODE: Table = {
    "inspect": ("inspect", "InspectNode", "Display detailed information on one or more nodes"),
    "ls": ("node.ls", "Ls", "List nodes of the cluster"),
    "ps": ("node.ps", "Ps", "List tasks running on one or more nodes, the connected one by default"),
    "rm": ("node.change", "Rm", "Remove one or more nodes from the cluster"),
    "update": ("node.change", "Update", "Update a node"),
}

SERVICE: Table = {
    "create": ("service.create", "Create", "Create a new service"),
    "inspect": ("inspect", "InspectService", "Display detailed information on one or more services"),
    "logs": ("service.logs", "Logs", "Fetch the logs of a service"),
    "ls": ("service.ls", "Ls", "List services"),
    "ps": ("service.ps", "Ps", "List the tasks of one or more services"),
    "rm": ("service.change", "Rm", "Remove one or more services"),
    "rollback": ("service.change", "Rollback", "Revert changes to a service's configuration"),
    "scale": ("service.change", "Scale", "Scale one or multiple replicated services"),
    "update": ("service.update", "Update", "Update a service"),
}

GROUPS: dict[str, tuple[str, Table]] = {
    "builder": ("Manage builds", BUILDER),
    "cluster": ("Manage the cluster", CLUSTER),
    "container": ("Manage containers", CONTAINER),
    "context": ("Manage contexts", CONTEXT),
    "image": ("Manage images", IMAGE),
    "network": ("Manage networks", NETWORK),
    "node": ("Manage cluster nodes", NODE),
    "service": ("Manage services", SERVICE),
    "system": ("Manage the daemon", SYSTEM),
    "volume": ("Manage volumes", VOLUME),
}

TOP: Table = {
    **{name: entry for name, entry in CONTAINER.items() if name not in ("inspect", "ls", "prune")},
    **{name: IMAGE[name] for name in ("build", "history", "import", "load", "pull", "push", "save", "tag")},
    "completion": ("completion", "Completion", "Print a shell's completion script (bash, zsh, fish)"),
    "events": SYSTEM["events"],
    "images": IMAGE["ls"],
    "info": SYSTEM["info"],
    "inspect": ("inspect", "Inspect", "Return low-level information on objects"),
    "ps": CONTAINER["ls"],
    "rmi": IMAGE["rm"],
    "version": SYSTEM["version"],
}

# Other words for the same thing.
_ALIASES = {
    ("swarm",): ("cluster",),
    ("container", "ps"): ("container", "ls"),
    ("container", "list"): ("container", "ls"),
    ("container", "remove"): ("container", "rm"),
    ("image", "list"): ("image", "ls"),
    ("image", "remove"): ("image", "rm"),
    ("network", "list"): ("network", "ls"),
    ("network", "remove"): ("network", "rm"),
    ("volume", "list"): ("volume", "ls"),
    ("volume", "remove"): ("volume", "rm"),
    ("service", "list"): ("service", "ls"),
    ("service", "remove"): ("service", "rm"),
    ("node", "list"): ("node", "ls"),
    ("node", "remove"): ("node", "rm"),
    ("context", "list"): ("context", "ls"),
    ("context", "remove"): ("context", "rm"),
}


def find(words: list[str]) -> tuple[tuple[str, ...], type[Command] | None, list[str]]:
    """The command that `words` call: its name in words, its class, and its own line.

    The class is None when help on a group, or on everything, is wanted. UsageError for an unknown command.
    """
    if not words:
        return (), None, ["--help"]
    first, *rest = words
    first = _ALIASES.get((first,), (first,))[0]
    if first == "help":
        path, command, _ = find(rest)
        return path, None, ["--help"] if command is not None or not rest else []
    if first in TOP:
        return (first,), load(first, TOP[first]), rest
    if first not in GROUPS:
        raise UsageError(f"'{first}' is not an argosy command.", 1, see=True)
    table = GROUPS[first][1]
    if not rest or rest[0] in ("--help", "-h"):
        return (first,), None, []
    verb = _ALIASES.get((first, rest[0]), (first, rest[0]))[-1]
    if verb not in table:
        raise UsageError(f"'{rest[0]}' is not a command of 'argosy {first}'.", 1, see=True)
    return (first, verb), load(f"{first} {verb}", table[verb]), rest[1:]


def load(name: str, entry: tuple[str, str, str]) -> type[Command]:
    """A command's class, its module imported now."""
    module, class_name, _ = entry
    command: type[Command] = getattr(import_module(f"argosy.cli.{module}"), class_name)
    command.name = name
    return command
