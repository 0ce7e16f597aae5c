"""How files and folders become whole, and the storages that other packages bring."""
