"""The bodies that travel over HTTP, a module for each resource."""
