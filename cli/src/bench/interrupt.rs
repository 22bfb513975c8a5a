//! Interruption of a benchmark by the user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use thiserror::Error;

/// Flag that a signal sets. An interrupted benchmark returns [`Interrupted`], so that the values that stand for
/// processes and files are dropped.
pub(super) struct Interrupt(Arc<AtomicBool>);

/// Error of a benchmark that the user interrupted.
#[derive(Debug, Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

impl Interrupt {
    /// Registers the flag for SIGINT, SIGTERM and SIGHUP.
    pub(super) fn catch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&flag)).context("cannot wait for signals")?;
        }
        Ok(Self(flag))
    }

    /// Returns [`Interrupted`] after a signal.
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
    }
}
