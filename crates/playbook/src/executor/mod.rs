//! Playbooks carried out: strategies, hosts in parallel, loops, retries, blocks, handlers.
