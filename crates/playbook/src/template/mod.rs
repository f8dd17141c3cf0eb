//! Rendering as playbooks want it: Jinja with Ansible's filters, tests and lookups.
