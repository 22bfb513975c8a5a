//! Subnet nodes: the agents, the logical switch and the hypervisor subnet management agent.
#![no_std]
