//! Preload library through which unmodified umad programs reach the fabric: OpenSM, the diagnostics, osmtest.
//!
//! To the program it is the kernel's `ib_umad`: there is a device in sysfs, and `/dev/infiniband/umad0` for its port 1
//! does what the kernel's does with agents, method masks, transaction ids, timeouts, retries, and messages of many MADs
//! (RMPP). Behind it is a server of ibsim's client protocol, Portico's own or ibsim, which the environment names as it
//! does for ibsim's own library: `IBSIM_SOCKNAME`, or `IBSIM_SERVER_NAME` and `IBSIM_SERVER_PORT` for UDP; `SIM_HOST`,
//! `SIM_SET_ISSM`.
//!
//! ```sh
//! LD_PRELOAD=libportico_umad.so IBSIM_SOCKNAME=portico SIM_HOST=H1 saquery
//! ```
//!
//! A program that never looks at `/dev/infiniband` or the devices in sysfs never notices: nothing is set up for it.
//! From the inside out: `rmpp` cuts and joins messages, `port` is the MAD layer, both without sockets or clocks;
//! `session` moves their datagrams, `process` knows the process's descriptors, `hooks` are the C library's
//! functions.

mod abi;
mod agents;
mod attach;
mod directory;
mod file;
pub mod hooks;
mod port;
mod process;
mod rmpp;
mod session;
mod sysfs;
