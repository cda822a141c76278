"""What this engine does for the cluster: runs tasks as containers, gives images to other nodes."""
