//! Preload library through which unmodified umad programs reach the fabric.
