//! Preload library through which unmodified umad programs reach the fabric: OpenSM, the diagnostics, osmtest.
//!
//! The program sees the kernel's `ib_umad`: a device in sysfs, and `/dev/infiniband/umad0` for its port 1 with agents,
//! method masks, transaction ids, timeouts, retries, and messages of many MADs (RMPP) as in the kernel. Behind it is a
//! server of ibsim's client protocol, Portico's or ibsim. The environment names it as for ibsim's own library:
//! `IBSIM_SOCKNAME`, or `IBSIM_SERVER_NAME` and `IBSIM_SERVER_PORT` for UDP; `SIM_HOST`, `SIM_SET_ISSM`.
//!
//! ```sh
//! LD_PRELOAD=libportico_umad.so IBSIM_SOCKNAME=portico SIM_HOST=H1 saquery
//! ```
//!
//! The library sets up nothing for a program that opens neither `/dev/infiniband` nor the devices in sysfs. From the
//! inside out: `rmpp` segments and reassembles messages and `port` is the MAD layer, both without sockets or clocks;
//! `session` moves their datagrams, `process` holds the process's descriptors, `hooks` are the C library's functions.

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
